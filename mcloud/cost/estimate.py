"""The cost of a pipeline before it is deployed.

A few minutes of simulated trades pass through the code that the pipeline runs: they are encoded as
messages, put into records for the export service and folded into candles, as often as the freshness
demands. Their requests and bytes, scaled to a month of 30 days, are priced like metered usage.

The time of a function and the size of a log line are measured constants, and so is the work of the
compaction. A replicator is priced beside the pipeline. Guards, dashboards and queries are left out;
`mcloud guard` and `mcloud monitor` show their own cost.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from random import Random

from mcloud.clouds.heartbeats import document_of
from mcloud.clouds.resources import Cloud
from mcloud.cost import unmetered
from mcloud.cost.archiving import CompactionWork, compaction, staged_objects
from mcloud.cost.calls import HEARTBEAT, units
from mcloud.cost.charge import Use, charge
from mcloud.cost.prices import PRICES, SERVICES, CostService
from mcloud.cost.unmetered import HOURS, MINUTES
from mcloud.feed.simulate import MAX_RATE, Simulate
from mcloud.market.archive import pack
from mcloud.market.candle import Candle, by_minute, fold
from mcloud.market.envelope import SQS_CHUNK, encode_all, window_end
from mcloud.market.staged import RECORD, combine
from mcloud.market.trade import Trade
from mcloud.processor.pulse import INTERVAL

MONTHS = (1, 12)
"""Months after the deployment that are priced. Stored data grows from one to the other."""
SAMPLE = 20_000  # maximum number of simulated trades
LONGEST = 10  # maximum number of simulated minutes

_START = 1_735_776_000_000  # start of the simulation: a whole hour, in ms since 1970
_PATTERN = 40_000  # trades whose prices and quantities are repeated; they exceed zlib's window
_FILLS = 3  # trades of an order, on average; see `feed.simulate`
_BATCH = 100  # messages of a batch of Lambda
_LOG_LINE = {"aws": 330, "gcp": 700}  # bytes of the line about the trades of a symbol in a message
_LOG_CALL = {"aws": 400, "gcp": 0}  # bytes that the platform logs for each call
_CALL_CPU = Decimal("0.045")  # seconds of a whole CPU for a call with a few trades, measured
_FOLDED = 150_000  # trades that a whole CPU decodes and folds in a second
_TRACED = 100  # one in this many messages; see `producer.message_log`
_SPANS = 3  # of a traced message; see `processor.spans`
_STAMP = 36  # bytes of the ID and the time of a message, which Pub/Sub bills


@dataclass(frozen=True)
class Load:
    """The trades of a planned pipeline."""

    symbols: int
    rate: float
    """Trades per second of all symbols together."""
    freshness: float
    """Maximum age of a candle, in seconds."""

    @property
    def rates(self) -> list[float]:
        """Trades per second of each symbol. The n-th symbol has an n-th of the trades of the
        first, which is close to how trading is distributed on exchanges (Zipf's law).
        """
        whole = sum(1 / n for n in range(1, self.symbols + 1))
        return [self.rate / whole / n for n in range(1, self.symbols + 1)]


@dataclass(frozen=True)
class EstimateLine:
    """A service of one site in one month."""

    site: str
    cloud: Cloud
    month: int
    """Number of the month after the deployment, from 1 on."""
    service: CostService
    gross: Decimal
    """Cost in dollars at list price."""
    net: Decimal
    """Cost in dollars after the free tiers."""


@dataclass
class Flow:
    """Requests and bytes per minute, which no cloud has priced yet."""

    messages: float = 0
    """Messages in the queue."""
    chunks: float = 0
    """The same, counted by each 64 KiB that they begin."""
    published: float = 0
    """Bytes of messages, counting at least 1,000 for each."""
    calls: float = 0
    """Batches of messages: those of a window, at most a hundred together."""
    rows: float = 0
    """Symbols in messages: each is a line in the log."""
    writes: float = 0
    """Writes of candles."""
    write_units: float = 0
    """The same, counted by each KiB that the candle begins."""
    candle_bytes: float = 0
    """Bytes of new candles."""
    candles: float = 0
    """New candles."""
    record_bytes: float = 0
    """Bytes of records for Data Firehose, counting the started 5 KiB of each."""
    export_bytes: float = 0
    """Bytes of messages that Pub/Sub writes to Cloud Storage."""
    staged_bytes: float = 0
    """Bytes of staged objects."""
    raw_bytes: float = 0
    """Bytes of new blocks."""
    heartbeats: float = 0
    """Writes of documents with heartbeats."""
    heartbeat_units: float = 0
    """The same, counted by each KiB that the document begins."""
    trades: float = 0


def estimate(
    load: Load,
    sites: Mapping[str, Cloud],
    *,
    free_tier: bool = True,
    more: "Callable[[Cloud, Flow, Load, int], Mapping[str, Decimal]] | None" = None,
) -> list[EstimateLine]:
    """Return the cost of each service of each site, in the first and in the twelfth month.

    Args:
        sites: the cloud of each site.
        free_tier: whether the free tiers are for this pipeline alone.
        more: returns the units of something else at a site in a month, which are added.
    """
    flow = simulated(load)
    lines = []
    for month in MONTHS:
        uses = [
            (site, Use(cloud, meter, units))
            for site, cloud in sites.items()
            for meter, units in monthly(cloud, flow, load, month).items()
        ]
        if more:
            uses += [
                (site, Use(cloud, meter, units))
                for site, cloud in sites.items()
                for meter, units in more(cloud, flow, load, month).items()
            ]
        dates = [f"{day:02}" for day in range(30)]
        charges = charge([use for _, use in uses], dates, free_tier=free_tier)
        gross: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        net: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for (site, use), each in zip(uses, charges, strict=True):
            key = site, PRICES[use.cloud, use.meter].service
            gross[key] += each.gross
            net[key] += each.net
        lines += [
            EstimateLine(site, cloud, month, service, gross[site, service], net[site, service])
            for site, cloud in sites.items()
            for service in SERVICES
            if (site, service) in gross
        ]
    return lines


def net_of(lines: Iterable[EstimateLine], site: str, month: int) -> Decimal:
    """Return the net cost of a site in a month, in dollars."""
    return sum((line.net for line in lines if (line.site, line.month) == (site, month)), Decimal(0))


@lru_cache(maxsize=1)
def simulated(load: Load) -> Flow:
    """Return the requests and bytes of an average minute."""
    minutes = min(LONGEST, max(1, round(SAMPLE / 60 / load.rate)))
    flow = Flow()
    everything: list[Trade] = []
    candles: dict[tuple[str, int], Candle] = {}
    beaten: set[tuple[str, int]] = set()
    for window in _windows(load, minutes):
        messages = encode_all(sorted(window, key=attrgetter("symbol", "id")))
        flow.messages += len(messages)
        flow.chunks += sum(-(-message.size // SQS_CHUNK) for message in messages)
        flow.published += sum(max(1000, message.size) for message in messages)
        flow.calls += -(-len(messages) // _BATCH)
        flow.trades += len(window)
        # A symbol is rarely split between two messages, which is not counted here.
        flow.rows += len({trade.symbol for trade in window})
        bodies = [message.body for message in messages]
        flow.record_bytes += sum(-(-len(each.text) // RECORD) * RECORD for each in combine(bodies))
        flow.export_bytes += sum(message.size + _STAMP for message in messages)
        flow.staged_bytes += sum(len(body) + 1 for body in bodies)
        everything += window
        for (symbol, start), trades in by_minute(window).items():
            candle = candles.get((symbol, start), Candle(symbol, start))
            candles[symbol, start] = candle = fold(candle, trades).candle
            flow.writes += 1
            flow.write_units += -(-stored_size(candle) // 1024)
        beaten |= {
            (document_of(trade.symbol), int(trade.time // (1000 * INTERVAL))) for trade in window
        }
    flow.raw_bytes = sum(len(item.body) for item in pack(everything))
    flow.candles = len(candles)
    flow.candle_bytes = sum(map(stored_size, candles.values()))
    filled = Counter(map(document_of, (_name(n) for n in range(1, load.symbols + 1))))
    for document, _ in beaten:
        flow.heartbeats += 1
        flow.heartbeat_units += -(-filled[document] * HEARTBEAT // 1024)
    return Flow(**{name: value / minutes for name, value in vars(flow).items()})


def monthly(cloud: Cloud, flow: Flow, load: Load, month: int) -> dict[str, Decimal]:
    """Return the units of each meter in a month after the deployment."""
    meters = _aws(flow) if cloud == "aws" else _gcp(flow)
    found = {meter: Decimal(per_minute) * MINUTES for meter, per_minute in meters.items()}
    compacting = compaction(load.rates, _staged(flow), _FILLS, month - 0.5)
    for meter, units_ in _compacted(cloud, compacting).items():
        found[meter] = found.get(meter, Decimal(0)) + units_ * HOURS
    if cloud == "aws":
        found["sqs_requests"] += unmetered.idle_polls(Decimal(_calls(cloud, flow)) * MINUTES)
    for meter, units_ in unmetered.billed_time(cloud, _seconds(cloud, flow) * MINUTES).items():
        found[meter] = found.get(meter, Decimal(0)) + units_
    found |= unmetered.fixed(cloud)
    new = (Decimal(each) * MINUTES for each in (flow.candles, flow.candle_bytes, flow.raw_bytes))
    return found | unmetered.stored(cloud, month, *new)


def _aws(flow: Flow) -> dict[str, float]:
    """Return the units per minute of each meter on AWS."""
    calls = _calls("aws", flow)
    return {
        "sqs_requests": 3 * flow.chunks,
        "lambda_requests": calls + 1,
        "dynamodb_writes": flow.write_units + flow.heartbeat_units,
        "dynamodb_reads": float(units("aws", "kept")["dynamodb_reads"]),  # anomalies to send
        "firehose_bytes": flow.record_bytes,
        "s3_puts": _staged(flow),
        "log_bytes": _logged("aws", flow, calls),
        "xray_traces": flow.messages / _TRACED,
    }


def _gcp(flow: Flow) -> dict[str, float]:
    """Return the units per minute of each meter on Google Cloud."""
    return {
        "pubsub_bytes": 2 * flow.published,
        "function_requests": flow.messages + 1,
        "firestore_writes": flow.writes + flow.heartbeats,
        "firestore_reads": float(units("gcp", "kept")["firestore_reads"]),  # anomalies to send
        "pubsub_export_bytes": flow.export_bytes,
        "gcs_class_a": _staged(flow),
        "log_bytes": _logged("gcp", flow, flow.messages),
        "trace_spans": _SPANS * flow.messages / _TRACED,
    }


def _staged(flow: Flow) -> float:
    """Return the staged objects per minute."""
    return staged_objects(flow.messages, flow.staged_bytes)


def _compacted(cloud: Cloud, work: CompactionWork) -> dict[str, Decimal]:
    """Return the units of each meter for the work of the compaction."""
    writes, reads = Decimal(work.writes + work.lists), Decimal(work.reads)
    time = unmetered.compacting_time(cloud, work)
    if cloud == "aws":
        return {"s3_puts": writes, "s3_gets": reads, "lambda_requests": Decimal(1), **time}
    return {"gcs_class_a": writes, "gcs_class_b": reads, "function_requests": Decimal(1), **time}


def _calls(cloud: Cloud, flow: Flow) -> float:
    """Return the calls of the processor per minute."""
    return min(flow.messages, flow.calls) if cloud == "aws" else flow.messages


def _seconds(cloud: Cloud, flow: Flow) -> Decimal:
    """Return the seconds per minute of the processor and of the anomaly function."""
    calls = Decimal(_calls(cloud, flow))
    folding = calls * _CALL_CPU + Decimal(flow.trades) / _FOLDED
    # On AWS, a call hands its messages over to Data Firehose, usually in one request.
    handed_over = calls if cloud == "aws" else Decimal(0)
    processor = unmetered.FunctionWork(calls, Decimal(flow.writes), handed_over, folding)
    sending = unmetered.FunctionWork(Decimal(1), Decimal(1), Decimal(0), _CALL_CPU)
    return unmetered.seconds(cloud, processor) + unmetered.seconds(cloud, sending)


def _logged(cloud: Cloud, flow: Flow, calls: float) -> float:
    return flow.rows * _LOG_LINE[cloud] + calls * _LOG_CALL[cloud]


def _windows(load: Load, minutes: int) -> Iterator[list[Trade]]:
    """Yield the trades of each window in which there are any."""
    freshness = max(1.0, load.freshness)  # a producer writes each symbol's trades once a second
    trades = trades_of(load, minutes, _START)
    for _, window in groupby(trades, lambda trade: window_end(trade.time, freshness)):
        yield list(window)


def trades_of(load: Load, minutes: float, start: int) -> list[Trade]:
    """Return simulated trades of a load, by time.

    Args:
        start: time of the first trades, in ms since 1970.
    """
    simulate = Simulate(["BTCUSDT"], seed=1, start_time=_START, count=_PATTERN, rate=MAX_RATE)
    pattern = list(simulate)
    trades = [
        trade._replace(time=start + trade.time)
        for number, rate in enumerate(load.rates, start=1)
        for trade in _stream(number, rate, int(60_000 * minutes), pattern)
    ]
    trades.sort(key=attrgetter("time"))
    return trades


def _stream(number: int, rate: float, length: int, pattern: list[Trade]) -> Iterator[Trade]:
    """Yield the trades of a symbol for ``length`` ms: orders at random times, of three fills each.

    Prices and quantities are those of the pattern.
    """
    random = Random(number)
    id_ = number * 1_000_003
    time = random.expovariate(rate / _FILLS / 1000)
    while time < length:
        for _ in range(_FILLS):
            like = pattern[id_ % len(pattern)]
            yield like._replace(symbol=_name(number), id=id_, time=int(time))
            id_ += 1
        time += random.expovariate(rate / _FILLS / 1000)


def _name(number: int) -> str:
    return f"S{number}USDT"


def stored_size(candle: Candle) -> int:
    """Return the bytes of a stored candle: names and values, as both stores count them."""
    return sum(len(name) + len(str(value)) for name, value in candle.to_record().items())
