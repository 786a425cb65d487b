"""The cost of watching the sites at list price, from the questions and their intervals."""

from collections.abc import Mapping
from decimal import Decimal

from mcloud.clouds.aws.metrics import METRICS
from mcloud.clouds.gcp.metrics import SERIES
from mcloud.clouds.ports import SERVICES
from mcloud.clouds.resources import Cloud
from mcloud.cost import calls
from mcloud.observing.recent import MINUTES, SYMBOLS

MONTH = 30 * 24 * 3600.0  # seconds
# Maximum number of metrics for the cost of the month: see ``ports.Usage``.
USAGE = {"aws": 35, "gcp": 78}
FIGURES = {"aws": METRICS, "gcp": SERIES}


def asked(cloud: Cloud, part: str, symbols: int, lags: int) -> dict[str, Decimal]:
    """Return the units of each meter that one question to a site takes.

    Args:
        part: a query of ``queries.queries_of``, or ``cost``. Requests without a charge have no
            units.
        symbols: number of symbols with a heartbeat on the site.
        lags: number of lags that replicators store on the site.
    """
    if part in ("depth", "dead") and cloud == "gcp":
        return {}  # they come with the figures
    if part == "recent":
        # The newest candle of a symbol, and those of the minutes before it.
        one = calls.units(cloud, "candle", MINUTES + 1)
        return {meter: min(symbols, SYMBOLS) * each for meter, each in one.items()}
    questions: dict[str, tuple[str, int]] = {
        **{service: (service, 1) for service in SERVICES},
        "code": ("function", 1),
        "depth": ("depth", 1),
        "dead": ("depth", 1),
        "figures": ("figures", FIGURES[cloud]),
        "cost": ("figures", USAGE[cloud]),
        "beats": ("heartbeats", symbols),
        "lags": ("kept", lags),
        "guard": ("kept", 1),
        "debts": ("kept", 1),
        "compaction": ("kept", 1),
        "silences": ("kept", 1),
        "record": ("record", 1),
    }
    call, count = questions[part]
    return calls.units(cloud, call, count)


def a_month(cloud: Cloud, intervals: Mapping[str, float], symbols: int, lags: int) -> Decimal:
    """Return the cost in dollars of thirty days of questions to one site, at these intervals."""
    return sum(
        (
            calls.price(cloud, asked(cloud, part, symbols, lags)) * Decimal(MONTH / interval)
            for part, interval in intervals.items()
        ),
        Decimal(0),
    )
