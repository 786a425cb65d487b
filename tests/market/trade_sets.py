"""Generated sets of trades: with holes in the ids, equal times, and times in another order."""

from decimal import Decimal

from hypothesis import strategies as st

from mcloud.market.trade import MAX_ID, Trade, to_text

START = 1_723_161_180_000  # 2024-08-08T23:53:00Z

# Eight places as on Binance, and at most 16 digits, so that sums of products fit into 38 digits.
numbers = st.integers(1, 10**16 - 1).map(lambda units: Decimal(to_text(Decimal(units).scaleb(-8))))
round_numbers = st.integers(1, 10**6).map(Decimal)
prices = numbers | round_numbers
quantities = numbers | round_numbers | st.just(Decimal(0))

# Small ids, ids as on Binance, ids at the edge of large aligned blocks, and the highest ids.
first_ids = st.sampled_from([0, 1, 5, 3735683259, 2**32 - 20, 2**62 - 7, MAX_ID - 60])


def times(minutes: int) -> st.SearchStrategy[int]:
    """Draw times with few distinct offsets, often equal or at the edge of a minute."""
    edges = st.sampled_from([0, 1, 30_000, 59_999])
    offsets = edges | st.integers(0, 59_999)
    return st.builds(
        lambda minute, offset: START + minute * 60_000 + offset,
        st.integers(0, minutes - 1),
        offsets,
    )


@st.composite
def trade_sets(
    draw: st.DrawFn,
    symbol: str = "BTCUSDT",
    minutes: int = 3,
    smallest: int = 0,
    moments: st.SearchStrategy[int] | None = None,
    voids: bool = False,
) -> list[Trade]:
    """Draw up to 60 trades of one symbol with distinct ids, ordered by id. Some are voids."""
    first = draw(first_ids)
    gaps = draw(st.sampled_from([(1, 1), (1, 2), (1, 20)]))
    count = draw(st.integers(smallest, max(smallest, 60 // gaps[1])))
    moment = moments if moments is not None else times(minutes)
    trades = []
    id_ = first
    for _ in range(count):
        if voids and draw(st.integers(0, 3)) == 0:
            trades.append(Trade.void(symbol, id_, draw(moment)))
        else:
            numbers = draw(prices), draw(quantities)
            trades.append(Trade(symbol, id_, *numbers, draw(moment), draw(st.booleans())))
        id_ += draw(st.integers(*gaps))
    return trades


def several_symbols() -> st.SearchStrategy[list[Trade]]:
    return st.builds(
        lambda a, b: a + b, trade_sets(voids=True), trade_sets(symbol="ETHUSDT.um", voids=True)
    )


def subsets(trades: list[Trade]) -> st.SearchStrategy[list[Trade]]:
    """Draw any of the trades, each any number of times, in any order."""
    return st.lists(st.sampled_from(trades)) if trades else st.just([])
