"""Trade ids that are missing after the files were loaded: the exchange is asked for them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mcloud.clouds.ports import Site
from mcloud.market.trade import id_count
from mcloud.replication.repair import PAGE, Fetch, plan, repair
from mcloud.replication.verify_report import VerifyReport

MOST = 3_000
"""Maximum number of requests for the missing ids of a symbol. They cover three million ids in a
row, a day of the largest market, in a quarter of an hour. More are a missing file and no gap."""


@dataclass
class FilledGaps:
    """The outcome of asking the exchange for missing ids."""

    fetched: int = 0
    """Number of ids for which the exchange had a trade, or knew that there is none."""
    problems: list[str] = field(default_factory=list)


def fill(
    report: VerifyReport,
    sites: Mapping[str, Site],
    fetch: Fetch,
    tell: Callable[[str], None] = lambda words: None,
) -> FilledGaps:
    """Give all sites what the exchange has for the ids that they all lack.

    Args:
        fetch: asks the exchange.
        tell: called with a short progress message.
    """
    requests = Counter[str]()
    for each in report.of("incomplete"):
        requests[each.symbol] += sum(-(-id_count(*run) // PAGE) for run in each.runs)
    few = [each for each in report.of("incomplete") if requests[each.symbol] <= MOST]
    made = plan(replace(report, findings=tuple(few)), sites, has_exchange=True)
    done = repair(made, sites, fetch, tell=tell)
    many = [
        f"{symbol}: the exchange was not asked for the missing ids, which would take"
        f" {count:,} requests"
        for symbol, count in sorted(requests.items())
        if count > MOST
    ]
    return FilledGaps(done.fetched, [*many, *done.problems])
