"""Staged objects keep every message that an export service wrote, whatever lies between them."""

import gzip
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from market.trade_sets import several_symbols, subsets
from mcloud.market.envelope import Message, encode, encode_all
from mcloud.market.staged import RECORD, combine, pack_foreign, parts
from mcloud.market.trade import Trade

# Lines that no message looks like. A line break would make two lines of one.
FOREIGN = st.binary(min_size=1, max_size=40).map(
    lambda text: b"?" + text.replace(b"\n", b" ").replace(b"\r", b" ")
)


def ordered(trades: list[Trade]) -> list[Trade]:
    return sorted(set(trades), key=lambda trade: (trade.symbol, trade.id))


@given(st.data())
def test_every_trade_and_every_foreign_line_is_read_in_parts_of_any_size(
    data: st.DataObject,
) -> None:
    trades = data.draw(several_symbols())
    several = data.draw(st.lists(subsets(trades), max_size=5))
    messages = [encode(ordered(each)) for each in several if each]
    foreign = data.draw(st.lists(FOREIGN, max_size=3))
    lines = data.draw(st.permutations([*(m.body.encode() for m in messages), *foreign]))
    # Pub/Sub ends the last line without a line break, Data Firehose with one.
    text = b"\n".join(lines) + data.draw(st.sampled_from([b"", b"\n"]))
    size = data.draw(st.integers(1, 100))
    found = list(parts(text, size))
    assert sorted(t for part in found for t in part.trades) == sorted(
        t for each in several for t in set(each)
    )
    assert sorted(line for part in found for line in part.foreign) == sorted(foreign)
    longest = max((len(set(each)) for each in several), default=0)
    assert all(len(part.trades) < size + longest for part in found)


def test_a_truncated_object_has_the_trades_of_its_whole_lines() -> None:
    trades = [Trade.void("BTCUSDT.um", id_, 1_723_161_180_000) for id_ in range(200)]
    bodies = [encode(trades[n : n + 50]).body.encode() for n in range(0, 200, 50)]
    text = b"\n".join(bodies)[:-7]
    (part,) = parts(text)
    assert list(part.trades) == trades[:150]
    assert part.foreign == (bodies[-1][:-7],)


@given(
    st.lists(st.text(st.sampled_from("abc{}"), min_size=1, max_size=60), max_size=40),
    st.integers(1, 80),
)
def test_records_hold_the_bodies_in_order_and_keep_the_limit(bodies: list[str], limit: int) -> None:
    records = combine(bodies, limit)
    assert b"".join(each.text for each in records) == "".join(f"{b}\n" for b in bodies).encode()
    assert [position for each in records for position in each.positions] == list(range(len(bodies)))
    for each in records:
        assert len(each.text) <= limit or len(each.positions) == 1
        lines = [bodies[position] for position in each.positions]
        assert each.text.decode().splitlines() == lines
    for one, other in pairwise(records):
        first = bodies[other.positions[0]].encode() + b"\n"
        assert len(one.text) + len(first) > limit


def test_small_messages_share_a_record() -> None:
    """Each record is billed as 5 KB, however small it is."""
    trades = [Trade.void("BTCUSDT.um", id_, 1_723_161_180_000) for id_ in range(100)]
    messages: list[Message] = [each for t in trades for each in encode_all([t])]
    records = combine([each.body for each in messages])
    assert len(records) == -(-sum(len(m.body) + 1 for m in messages) // RECORD)


def test_foreign_lines_are_kept_as_they_are() -> None:
    item = pack_foreign("staged/2024/08/08/23/x", [b"one", b"\xff\xfe"])
    assert item.key == "foreign/2024/08/08/23/x.gz"
    assert gzip.decompress(item.body) == b"one\n\xff\xfe\n"
    assert item == pack_foreign("staged/2024/08/08/23/x", [b"one", b"\xff\xfe"])
