"""``[guard]`` of mcloud.toml."""

from dataclasses import dataclass

from mcloud.config import Config, setting, settings
from mcloud.errors import ConfigError


@dataclass(frozen=True)
class GuardSettings:
    """Seconds, where nothing else is said."""

    interval: float = setting(2.0, least=0.5, most=300)
    """Between two probes of every queue."""
    suspect_interval: float = setting(0.5, least=0.1, most=300)
    """The same, once one of them failed."""
    timeout: float = setting(1.0, least=0.1, most=60)
    """That a probe may take."""
    fails: int = setting(3, least=1, most=100)
    """Bad probes in a row after which a site is down."""
    goods: int = setting(10, least=1, most=1000)
    """Good ones after which it is back."""
    lease: float = setting(8.0, least=1, most=3600)
    """Within which an outage has to be found; what the others come to must fit in."""
    dwell: float = setting(10.0, least=0)
    """That a site leads at least, before it is moved away from."""
    cooldown: float = setting(600.0, least=0)
    """After an automatic move, within which there is no second one."""
    max_lag: float = setting(300.0, least=0)
    """That the replicas of a site may be behind, for it to lead."""
    require_lag: bool = setting(False)
    """Whether a site of which no replicator has told a lag may not lead."""
    backlog_limit: float = setting(120.0, least=1)
    """Age of what waits in a queue that takes trades, from which on it is an outage all the same:
    a store or the function behind it is dead."""
    services_every: float = setting(120.0, least=1)
    """Between two probes of function and stores, while all is well."""
    look_every: float = setting(60.0, least=1)
    """The same for the record, the backlog, lags, debts and whether the guards are to pause."""
    canary_every: float = setting(300.0, least=5)
    """Between two canaries through each site."""
    failback: bool = setting(False)
    """Whether a site that is back, caught up and verified leads again by itself."""

    @property
    def stale(self) -> float:
        """Seconds after which a look tells nothing any more."""
        return 5 * (self.interval + self.timeout)

    @property
    def detection(self) -> float:
        """Seconds that pass at most from the begin of an outage to the last bad probe needed."""
        return (
            self.interval
            + self.timeout
            + (self.fails - 1) * max(self.timeout, self.suspect_interval)
        )


def guard_settings(config: Config) -> GuardSettings:
    """Read them.

    Raises:
        ConfigError: one is wrong, or together they cannot work.
    """
    read = settings(config, "guard", GuardSettings)
    if problem := problem_of(read):
        raise ConfigError(f"[guard] cannot work: {problem}")
    return read


def problem_of(settings: GuardSettings) -> str:
    """Why these do not fit together; empty where they do.

    The first is Patroni's rule for its intervals, loop + 2 x retry <= lease, for any number of
    retries. [Patroni: dynamic configuration]
    """
    if settings.detection > settings.lease:
        probe = max(settings.timeout, settings.suspect_interval)
        return (
            f"an outage takes up to {settings.detection:g} s to find (interval"
            f" {settings.interval:g}, {settings.fails} probes of {probe:g} s),"
            f" and lease allows {settings.lease:g} s"
        )
    if settings.goods <= settings.fails:
        return f"goods ({settings.goods}) must be above fails ({settings.fails}), or a site flaps"
    if settings.suspect_interval > settings.interval:
        return "suspect_interval is above interval"
    return ""
