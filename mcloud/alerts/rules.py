"""The rules of the alerts: the built-in ones, and those in ``[alerts]`` of mcloud.toml.

[alerts]
interval = 60                    # seconds between two checks of `mcloud alerts watch`
unknown_for = 900                # seconds until unknown figures are reported

[alerts.dead-letters]            # change a built-in rule
severity = "critical"
channels = ["oncall"]

[alerts.silence]
enabled = false

[alerts.deep-queue]              # or add a rule
figure = "sites.*.queue.ready"   # a path in `mcloud status -o json`, see ``figures``
above = 5000
clear = 1000                     # over only when it is no longer above this
for = 120                        # seconds for which it has to last
severity = "warning"
text = "The function does not keep up."
"""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from mcloud.alerts import units
from mcloud.config import Config, did_you_mean, setting
from mcloud.config.document import Where
from mcloud.config.settings import read, tables
from mcloud.notify.event import SEVERITIES, Severity

BUILT_IN = "built in"
UnknownRule = Literal["tell", "ignore"]
"""Whether a figure that has been unknown for a while is reported."""
FAR = 1e300  # a figure may be bytes, or money of any currency

STALE = 600.0  # seconds; Cloud Monitoring alone lags by four minutes


@dataclass(frozen=True)
class AlertRule:
    """A condition on figures, and the alert to send while it holds."""

    name: str
    figure: str
    """Pattern of the figures; see ``figures``."""
    text: str
    """Cause and remedy. ``{0}`` is the value of the first star."""
    says: str = "{value}, {limit}"
    """The problem in a few words, with units."""
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    """Limit at which the alert is over. None is the same limit at which it fires."""
    last: float = 0.0
    """Seconds for which the figure has to be wrong before the alert fires; ``for`` in the file."""
    recover: float = 0.0
    """Seconds for which the figure has to be fine before the alert is resolved."""
    severity: Severity = "warning"
    enabled: bool = True
    channels: tuple[str, ...] | None = None
    """Names of the channels. None is all of them."""
    stale: float = STALE
    """Age in seconds from which a figure counts as unknown."""
    unknown: UnknownRule = "tell"
    """``tell`` to report a figure that has been unknown for a while, or ``ignore``."""
    origin: str = BUILT_IN
    """``built in``, or the rule's lines in mcloud.toml."""

    def is_wrong(self, value: float) -> bool:
        return (self.above is not None and value > self.above) or (
            self.below is not None and value < self.below
        )

    def is_over(self, value: float) -> bool:
        """Whether a value ends the alert. Between the limit and ``clear``, the alert does not
        change.
        """
        if self.clear is None:
            return not self.is_wrong(value)
        return value <= self.clear if self.above is not None else value >= self.clear

    @property
    def limit(self) -> str:
        """Return a text such as ``above 300 s for 60 s``."""
        parts = [
            units.limit(value, word, self.figure)
            for word, value in (("above", self.above), ("below", self.below))
            if value is not None
        ]
        lasting = f" for {self.last:,g} s" if self.last else ""
        return " or ".join(parts) + lasting


_BUILT_IN = (
    AlertRule(
        "service-down",
        "sites.*.up",
        "See `mcloud status {0}` and `mcloud doctor {0}`.",
        says="down",
        below=1,
        last=60,
        severity="critical",
    ),
    AlertRule(
        "dead-letters",
        "sites.*.dead_letters.ready",
        "Messages could not be processed: `mcloud dlq list {0}` shows why.",
        above=0,
    ),
    AlertRule(
        "message-age",
        "sites.*.queue.oldest_age_s",
        "The oldest message has waited too long: the function is too slow or down.",
        says="the oldest has waited for {value}",
        above=300,
        last=60,
        severity="critical",
    ),
    AlertRule(
        "function-errors",
        "sites.*.function.error_rate",
        "The function fails. Its messages are retried, and become dead letters in the end.",
        says="{value} of its calls fail",
        unknown="ignore",  # without calls, there is no figure
        above=0.05,
        clear=0.01,
        last=60,
    ),
    AlertRule(
        "function-throttles",
        "sites.*.function.throttles",
        "The function is throttled: it may not run as often as the queue needs it.",
        unknown="ignore",
        above=0,
        last=60,
    ),
    AlertRule(
        "replication-lag",
        "sites.*.replication.*.candles_s",
        "Candles of {1} reach {0} late: see `mcloud ps` and `mcloud logs replicator`.",
        says="{value} behind",
        above=300,
        clear=60,
        last=120,
    ),
    AlertRule(
        "raw-lag",
        "sites.*.replication.*.raw_s",
        "Raw trades of {1} reach {0} late: see `mcloud ps` and `mcloud logs replicator`.",
        says="{value} behind",
        above=7200,
        last=120,
    ),
    AlertRule(
        "holes",
        "sites.*.holes",
        "Trade ids are missing from the candles of {0}: `mcloud verify --repair` fixes it.",
        above=0,
        last=300,
    ),
    AlertRule(
        "unfilled-holes",
        "producers.*.missing",
        "The producer misses trades, and keeps trying to fetch them: see `mcloud ps {0}`.",
        above=0,
        last=300,
    ),
    AlertRule(
        "stalled-streams",
        "producers.*.stalled",
        "The exchange has trades of these symbols that its stream does not deliver:"
        " `mcloud ps {0}` shows them.",
        above=0,
        severity="critical",
    ),
    AlertRule(
        "spool-waiting",
        "producers.*.waiting",
        "A site does not accept the trades, or not fast enough: see `mcloud ps {0}`.",
        above=50_000,
        clear=10_000,
        last=120,
    ),
    AlertRule(
        "spool-full",
        "producers.*.spool_full",
        "The producer has stopped reading: see `mcloud ps {0}`, and fix the site it waits for.",
        says="full",
        above=0,
        severity="critical",
    ),
    AlertRule(
        "left-behind",
        "producers.*.left_behind",
        "The producer has ended and its spool still has trades: the next run sends them first.",
        above=0,
        last=60,
    ),
    AlertRule(
        "disk-full",
        "disk.writable",
        "Free some space, or move the state with MCLOUD_STATE. Failovers and copies continue, "
        "without their audit entries, journals and logs. A producer that is cut off stops reading.",
        says="cannot be written to",
        below=1,
        last=60,
    ),
    AlertRule(
        "guard-lost",
        "guards.*.lost_s",
        "No automatic failover happens unless another guard runs: see `mcloud logs {0}` and start "
        "it again, or run `mcloud stop {0}` if it is no longer needed.",
        says="has not seen the sites for {value} s",
        above=0,
        last=60,
    ),
    AlertRule(
        "guard-paused",
        "pause.for_s",
        "No guard fails over until `mcloud guard resume`.",
        says="for {value} s",
        above=3600,
    ),
    AlertRule(
        "damaged-documents",
        "sites.*.damaged.count",
        "mcloud ignores documents that it cannot read on {0}: `mcloud documents list` shows them.",
        says="{value}",
        above=0,
        last=60,
    ),
    AlertRule(
        "silence",
        "symbols.*.silent_s",
        "No site has processed a trade of {0} lately: see `mcloud ps`.",
        says="silent for {value}",
        above=600,
        clear=60,
    ),
    AlertRule(
        "budget",
        "budgets.*.used",
        "See `mcloud cost report` and `mcloud cost advise`.",
        says="{value} of the month's budget is used",
        above=0.8,
        stale=86_400,  # a bill lags by a day
    ),
    AlertRule(
        "budget-forecast",
        "budgets.total.expected",
        "The month is expected to exceed the budget: see `mcloud cost forecast`.",
        says="{value} of the month's budget is expected",
        above=1,
        last=3600,  # a forecast from the first hours of a run is too high
        unknown="ignore",  # the first hour has none, and `used` of the same budget is reported
        stale=86_400,
    ),
    AlertRule(
        "anomalies",
        "symbols.*.anomalies",
        "`mcloud anomalies --symbols {0}` shows them.",
        says="{value} in an hour",
        above=0,
        severity="info",
    ),
)


@dataclass(frozen=True)
class AlertSettings:
    interval: float = setting(60.0, least=1, most=300)
    """Seconds between two checks of ``mcloud alerts watch``."""
    unknown_for: float = setting(900.0, least=0)
    """Seconds after which unknown figures are reported."""


@dataclass(frozen=True)
class RuleTable:
    """A table ``[alerts.RULE]``. Without a value, a built-in rule keeps its own."""

    figure: str | None = setting(None)
    """Path in ``mcloud status -o json``; ``*`` stands for any name. A new rule needs it."""
    above: float | None = setting(None, most=FAR)
    """Limit above which the alert fires."""
    below: float | None = setting(None, most=FAR)
    """Limit below which the alert fires."""
    clear: float | None = setting(None, most=FAR)
    """Value at which the alert is over. Default: the limit."""
    last: float | None = setting(None, least=0, key="for")
    """Seconds for which the figure has to be wrong before the alert fires. Default: 0."""
    recover: float | None = setting(None, least=0)
    """Seconds for which the figure has to be fine before the alert is over. Default: 0."""
    severity: Severity | None = setting(None, one_of=SEVERITIES)
    """Severity of the alert. Default: warning."""
    enabled: bool | None = setting(None)
    """Whether the rule is used. Default: true."""
    channels: tuple[str, ...] | None = setting(None)
    """Names of the channels that are notified. Default: all."""
    stale: float | None = setting(None, least=1)
    """Age in seconds from which a figure counts as unknown. Default: 600."""
    unknown: UnknownRule | None = setting(None, one_of=get_args(UnknownRule))
    """Whether a figure that has been unknown for a while is reported. Default: tell."""
    text: str | None = setting(None)
    """Cause and remedy. ``{0}`` is the name that the first star of the figure stands for."""


@dataclass(frozen=True)
class Rules:
    settings: AlertSettings = AlertSettings()
    rules: tuple[AlertRule, ...] = field(default=_BUILT_IN)


def rules(config: Config) -> Rules:
    """Return the built-in rules, as changed by mcloud.toml, and the rules of the file.

    Raises:
        ConfigError: something is wrong in ``[alerts]``, with its line.
    """
    names = tables(config.document, ("alerts",), AlertSettings)
    settings = read(config.document, ("alerts",), AlertSettings, names)
    found = {each.name: each for each in _BUILT_IN}
    for name in names:
        found[name] = _rule(config, name, found.get(name))
    return Rules(settings, tuple(found.values()))


def _rule(config: Config, name: str, before: AlertRule | None) -> AlertRule:
    document, where = config.document, ("alerts", name)
    said = read(document, where, RuleTable)
    values = {key: value for key, value in vars(said).items() if value is not None}
    origin = f"{document.path.name}:{document.line(('alerts',), name)}"
    if before is None:
        if "figure" not in values:
            hint = did_you_mean(name, [each.name for each in _BUILT_IN])
            message = f"[alerts.{name}] is a new rule and needs its figure{hint}"
            raise document.error(where, "figure", message)
        before = AlertRule(name, "", "")
    elif {"above", "below"} & values.keys():
        # A new limit replaces the built-in one, together with its ``clear``.
        before = replace(before, above=None, below=None, clear=None)
    rule = replace(before, origin=origin, **values)
    _check(config, rule, where)
    return rule


def _check(config: Config, rule: AlertRule, where: Where) -> None:
    document, name = config.document, ".".join(where)
    if rule.above is None and rule.below is None:
        raise document.error(where, "above", f"[{name}] needs a limit: above or below")
    if rule.above is not None and rule.below is not None:
        if not rule.above > rule.below:
            raise document.error(where, "above", f"{name}: no value lies between below and above")
        if rule.clear is not None:
            message = f"{name}.clear can be combined with above or with below, not with both"
            raise document.error(where, "clear", message)
    if rule.clear is not None and rule.is_wrong(rule.clear):
        message = f"{name}.clear must be on the good side of the limit, not {rule.clear:g}"
        raise document.error(where, "clear", message)
    if not all(rule.figure.split(".")):
        raise document.error(where, "figure", f"{name}.figure is not a path: {rule.figure!r}")
    channels = document.table(("channels",))
    for channel in rule.channels or ():
        if channel not in channels:
            hint = did_you_mean(channel, channels) or "; see [channels]"
            raise document.error(where, "channels", f"{name}: no channel {channel!r}{hint}")
    try:
        advice(rule, ("x",) * rule.figure.split(".").count("*"))
    except (IndexError, KeyError, ValueError) as error:
        message = f"{name}.text: only {{0}} and so on are replaced, one for each star of the figure"
        raise document.error(where, "text", message) from error


def advice(rule: AlertRule, names: tuple[str, ...]) -> str:
    """Return the rule's text for the given names."""
    return rule.text.format(*names)
