"""Trades as they may arrive: of all sizes, several times, in any order, and contradicting."""

from decimal import Decimal

from hypothesis import strategies as st
from market.trade_sets import numbers, trade_sets

from mcloud.market.trade import Trade, to_text


def decimals(digits: int, places: int, lowest: int = 1) -> st.SearchStrategy[Decimal]:
    """Draw numbers of up to ``digits`` digits, ``places`` of them behind the point."""
    units = st.integers(lowest, 10**digits - 1)
    return units.map(lambda n: Decimal(to_text(Decimal(n).scaleb(-places))))


sizes = st.sampled_from(
    [
        decimals(7, 2),  # products of 63 bits
        decimals(9, 8),
        decimals(10, 0),
        numbers,  # of Binance: products of up to 32 digits
        decimals(16, 0),  # more than 63 bits in units of 10**-12, and whole
        decimals(18, 9),
        decimals(19, 12),  # sums of about 38 digits
        decimals(19, 12, lowest=9 * 10**18),
        decimals(28, 12),  # the largest numbers of a trade: products of 56 digits
    ]
)


@st.composite
def arrivals(
    draw: st.DrawFn,
    *,
    price: st.SearchStrategy[Decimal] | None = None,
    voids: bool = True,
    disagreeing: bool = True,
    repeated: bool = True,
) -> list[Trade]:
    """Draw trades of one symbol in the order of their arrival.

    Args:
        price: draws the prices; by default, they are of any size.
        voids: whether some ids are voids, and other arrivals of voids have trades.
        disagreeing: whether some ids arrive with several contents.
        repeated: whether trades arrive several times.
    """
    price = price if price is not None else draw(sizes)
    quantity = draw(sizes) | st.just(Decimal(0))
    plain = draw(trade_sets(voids=voids and draw(st.booleans())))
    of_size = draw(st.lists(st.tuples(price, quantity), min_size=len(plain), max_size=len(plain)))
    trades = [
        each if each.is_void else each._replace(price=p, quantity=q)
        for each, (p, q) in zip(plain, of_size, strict=True)
    ]
    if not trades or not draw(st.booleans()):
        return trades
    others: list[Trade] = []
    if repeated:
        others += draw(st.lists(st.sampled_from(trades), max_size=20))
    if voids:
        ids = draw(st.lists(st.sampled_from(trades), max_size=10))
        others += [Trade.void(each.symbol, each.id, each.time) for each in ids]
    if disagreeing:
        for each in draw(st.lists(st.sampled_from(trades), max_size=10)):
            changed = {"price": draw(price), "quantity": draw(quantity), "time": each.time + 1}
            field = draw(st.sampled_from([*changed, "buyer_is_maker"]))
            changed["buyer_is_maker"] = not each.buyer_is_maker
            if not each.is_void:
                others.append(each._replace(**{field: changed[field]}))
    return draw(st.permutations(trades + others))
