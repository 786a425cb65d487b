"""The table ``[guard]`` of mcloud.toml."""

from dataclasses import dataclass

from mcloud.config import Config, setting, settings
from mcloud.errors import ConfigError

LATE = 0.7  # share of the timeout; three probes that hang must not be due to one short pause


@dataclass(frozen=True)
class GuardSettings:
    """Settings of a guard, in seconds unless stated otherwise."""

    interval: float = setting(1.8, least=0.5, most=300)
    """Seconds between two probes of every queue."""
    suspect_interval: float = setting(0.4, least=0.1, most=300)
    """Seconds between two probes of every queue after one of them failed. A probe that takes longer
    than most of ``timeout`` is followed by the next one meanwhile."""
    timeout: float = setting(1.0, least=0.1, most=60)
    """Maximum duration of a probe."""
    fails: int = setting(3, least=1, most=100)
    """Bad probes in a row after which a site is down."""
    goods: int = setting(10, least=1, most=1000)
    """Good probes in a row after which a site is up again."""
    lease: float = setting(8.0, least=1, most=3600)
    """Maximum time to detect an outage. The other intervals must be short enough for it."""
    dwell: float = setting(10.0, least=0)
    """Minimum time that a site is the primary before a guard moves the traffic away from it."""
    cooldown: float = setting(600.0, least=0)
    """Minimum time between an automatic move and the next one."""
    max_lag: float = setting(300.0, least=0)
    """Maximum replication lag of a site that may become primary."""
    require_lag: bool = setting(False)
    """Whether a site with an unknown lag must not become primary."""
    backlog_limit: float = setting(120.0, least=1)
    """Age of the oldest waiting message from which a queue that accepts trades counts as an outage,
    since a store or the function behind it is dead.
    """
    services_every: float = setting(120.0, least=1)
    """Seconds between two probes of the function and the stores, while all is well."""
    look_every: float = setting(60.0, least=1)
    """Seconds between two reads of the record, the backlog, lags, debts and the pause of the
    guards.
    """
    canary_every: float = setting(300.0, least=5)
    """Seconds between two canaries through each site."""
    failback: bool = setting(False)
    """Whether a site that is up, caught up and verified again becomes primary automatically."""

    @property
    def stale(self) -> float:
        """Age in seconds from which a check is ignored."""
        return 5 * (self.interval + self.timeout)

    @property
    def detection(self) -> float:
        """Maximum number of seconds from the start of an outage to the last bad probe needed."""
        return (
            self.interval + self.timeout + (self.fails - 1) * max(self.late, self.suspect_interval)
        )

    @property
    def late(self) -> float:
        """Seconds after which a probe that is not over is followed by another one."""
        return LATE * self.timeout

    @property
    def window(self) -> int:
        """Number of the last checks that count for a site that fails only most of the time."""
        return 2 * self.fails + 1

    @property
    def most_bad(self) -> int:
        """Number of bad checks in the window with which a site is down."""
        return 2 * self.fails - 1


def guard_settings(config: Config) -> GuardSettings:
    """Read the settings.

    Raises:
        ConfigError: a setting is invalid, or they contradict each other.
    """
    read = settings(config, "guard", GuardSettings)
    if problem := problem_of(read):
        raise ConfigError(f"[guard] cannot work: {problem}")
    return read


def problem_of(settings: GuardSettings) -> str:
    """Return why these settings do not fit together, or an empty string if they do.

    The first check is Patroni's rule for its intervals, loop + 2 x retry <= lease, for any number
    of retries. [Patroni: dynamic configuration]
    """
    if settings.detection > settings.lease:
        probe = max(settings.late, settings.suspect_interval)
        return (
            f"an outage takes up to {settings.detection:g} s to find (interval"
            f" {settings.interval:g}, {settings.fails} probes of {probe:g} s),"
            f" and lease allows {settings.lease:g} s"
        )
    if settings.goods <= settings.fails:
        return f"goods ({settings.goods}) must be above fails ({settings.fails}), or a site flaps"
    if settings.suspect_interval > settings.interval:
        return "suspect_interval must not be above interval"
    return ""
