"""The trades and the report of a CSV file are those of ``open_replay``."""

import gzip
import io
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.bulk import read_csv
from mcloud.bulk.columns import to_trades
from mcloud.bulk.fold import fold, join
from mcloud.bulk.read_csv import CsvFile
from mcloud.errors import UsageError
from mcloud.feed import lines
from mcloud.feed.feed import FeedReport
from mcloud.feed.replay import open_replay
from mcloud.market.candle import Candle, by_minute
from mcloud.market.candle import fold as fold_minute
from mcloud.market.trade import Trade

HEADERS = {
    "spot trades": b"id,price,qty,quote_qty,time,is_buyer_maker,is_best_match",
    "spot aggTrades": b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,"
    b"is_buyer_maker,is_best_match",
    "futures trades": b"id,price,qty,quote_qty,time,is_buyer_maker",
    "futures aggTrades": b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,"
    b"transact_time,is_buyer_maker",
}
NAMES = {kind: f"BTCUSDT-{kind.split()[1]}-2024-08-08" for kind in HEADERS}

plain = st.builds(
    lambda whole, places: f"{whole}.{places}",
    st.integers(0, 10**6),
    st.text("0123456789", min_size=1, max_size=8),
)
odd_numbers = st.sampled_from(
    [
        *("0", "0.0", "1E-8", "1e-05", "1.5E+2", "9.99e3", "1E-13", "12E3", "1e005", "1.E3", "1."),
        *(".5", "-1", "+1", " 1", "1 ", "\t1", "0x10", "", "1_000", "nan", "inf", "1,5", '"1"'),
        *("1.2.3", "00001.5", "9999999999999999.999999999999", "10000000000000000"),
        *("00000000000000001", "0.1234567890123", "0.1000000000000", "0." + "0" * 13, "١"),
        *("12345678901234567890123456789", "1" * 40, "-0", "1e", "e5", "1E", "0.000000000001"),
    ]
)
odd_wholes = st.sampled_from(
    [
        *("", "-1", "+1", " 1", "1 ", "0x10", "007", "1.0", "1e5", "9223372036854775807"),
        *("9223372036854775808", "00000000000000000005", "99999999999999999999", "1_0", "x", "١"),
    ]
)
times = st.integers(1_230_768_000_000, 1_893_456_000_000).map(str)
microseconds = times.map(lambda time: time + "123")
odd_times = st.sampled_from(
    ["0", "1230767999999", "1723161255", "253402300799999", "253402300800000", "999" * 6, "1.5"]
)
makers = st.sampled_from(["true", "false", "True", "False"])
odd_makers = st.sampled_from(["TRUE", "FALSE", "tRUE", "0", "1", "", " true", "t", '"true"'])
odd_lines = st.sampled_from(
    [
        *(b"", b"\r", b"x", b"1,2,3", b",,,,,,", b"\xff\xfe", b"1,2,3,4,1723161255342,true,\xff"),
        *(b"\0", b'{"s":"BTCUSDT"}', b"a,price,b,c,d,e,f", *HEADERS.values()),
        b"7,1.5,2,3,1723161255342\r,true,true",
    ]
)


@st.composite
def rows(draw: st.DrawFn, kind: str, *, is_odd: bool = False) -> bytes:
    """Draw a row. One field of an odd row is odd."""
    names = "id", "price", "quantity", "unused", "time", "maker"
    odd_one = draw(st.sampled_from(names)) if is_odd else None

    def field(name: str, usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> str:
        return draw(odd if name == odd_one else usual)

    id_ = field("id", st.integers(0, 10**12).map(str), odd_wholes)
    price = field("price", plain, odd_numbers)
    quantity = field("quantity", plain, odd_numbers)
    time = field("time", times | microseconds, odd_times | odd_wholes)
    maker = field("maker", makers, odd_makers)
    unused = field("unused", plain, odd_numbers)
    if "agg" in kind:
        columns = [id_, price, quantity, unused, unused, time, maker]
    else:
        columns = [id_, price, quantity, unused, time, maker]
    if kind.startswith("spot"):
        columns.append("True")
    return ",".join(columns).encode()


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw the kind and the content of a file."""
    kind = draw(st.sampled_from(list(HEADERS)))
    first = [draw(rows(kind)) for _ in range(draw(st.integers(0, 2)))]
    others = draw(st.lists(rows(kind), max_size=12))
    # Mostly one odd row at most, so that nothing else in the file keeps Arrow from reading it.
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 5]))):
        others.insert(draw(st.integers(0, len(others))), draw(rows(kind, is_odd=True)))
    if draw(st.booleans()):
        first.insert(0, HEADERS[kind])
    if draw(st.integers(0, 4)) == 0:
        others.insert(draw(st.integers(0, len(others))), draw(odd_lines))
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\r\n"]))
    bom = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    return kind, bom + end.join(first + others) + draw(st.sampled_from([b"", end]))


def packed(content: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(content)
    if how == "members":
        third = len(content) // 3
        parts = content[:third], content[third : 2 * third], content[2 * third :]
        return b"".join(map(gzip.compress, parts))
    if how == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("content.csv", content)
        return file.getvalue()
    return content


Outcome = tuple[list[Trade], FeedReport, str] | str


def one_by_one(path: Path) -> Outcome:
    try:
        replay = open_replay(path)
        return list(replay), replay.report, replay.symbols[0]
    except UsageError as error:
        return f"{error} {error.remedy}"


def in_columns(path: Path, threads: int = 1) -> Outcome:
    try:
        file = CsvFile(path)
        batches = list(file.map(lambda batch: batch, threads))
        trades = [trade for batch in batches for trade in to_trades(file.symbol, batch)]
        return trades, file.report, file.symbol
    except UsageError as error:
        return f"{error} {error.remedy}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@contextmanager
def tiny_chunks() -> Iterator[None]:
    """Let chunks and reads be so small that even a small file has several."""
    with (
        patch.object(lines, "MAX_LINE", 200),
        patch("mcloud.feed.replay.MAX_LINE", 200),
        patch.object(lines, "_CHUNK", 50),
        patch.object(read_csv, "CHUNK", 256),
    ):
        yield


@given(files(), st.sampled_from(["plain", "gzip", "members", "zip"]), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_file_has_the_trades_and_the_report_of_a_replay(
    folder: Path, file: tuple[str, bytes], how: str, tiny: bool
) -> None:
    kind, content = file
    path = folder / NAMES[kind]
    path.write_bytes(packed(content, how))
    if tiny:
        with tiny_chunks():
            assert in_columns(path) == one_by_one(path)
    else:
        assert in_columns(path) == one_by_one(path)


PIECES = [
    *(b"", b"\n", b"\r", b",", b".", b"0", b"00000000", b"9", b"123456789", b"-", b"+", b" ", b"e"),
    *(b"E-5", b"t", b"true", b"/", b":", b"\0", b"\xff", b"x", "١".encode(), b"\r\n", b"\n\n"),
]


@given(st.sampled_from(list(HEADERS)), st.data())
@settings(max_examples=600, deadline=None)
def test_a_changed_byte_is_read_as_the_replay_reads_it(
    folder: Path, kind: str, data: st.DataObject
) -> None:
    between = b"9.50000000," * (2 if "agg" in kind else 1)
    end = b",true\n" if kind.startswith("spot") else b"\n"
    text = b"".join(
        b"%d,61837.63000000,0.00299000,%s17231611800%02d,%s%s"
        % (95 + n, between, n, (b"true", b"False")[n % 2], end)
        for n in range(9)
    )
    at = data.draw(st.integers(0, len(text)))
    cut = at + data.draw(st.sampled_from([0, 0, 1, 1, 2, 5, 8, 9]))
    changed = text[:at] + data.draw(st.sampled_from([*PIECES, text[at:cut] * 2])) + text[cut:]
    path = folder / NAMES[kind]
    path.write_bytes(changed)
    assert in_columns(path) == one_by_one(path)


@given(files(), st.sampled_from(["gzip", "members", "zip"]), st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_has_the_trades_and_the_report_of_a_replay(
    folder: Path, file: tuple[str, bytes], how: str, data: st.DataObject
) -> None:
    kind, content = file
    path = folder / NAMES[kind]
    whole = packed(content, how)
    if data.draw(st.booleans(), "cut"):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    assert in_columns(path) == one_by_one(path)


@pytest.fixture(scope="module")
def large(folder: Path) -> bytes:
    """A text of several chunks."""
    random_ = random.Random(1)
    return b"".join(
        b"%d,%d.%08d,0.%08d,1.00000000,%d,True,True\n"
        % (n, 61_000, random_.randrange(10**8), random_.randrange(10**8), 1723161180000 + n * 9)
        for n in range(60_000)
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("damage", ["none", "bad rows", "scientific", "header inside", "cut"])
def test_a_file_of_several_chunks(folder: Path, large: bytes, damage: str, threads: int) -> None:
    path = folder / f"{NAMES['spot trades']}-{threads}"
    text = large.splitlines(keepends=True)
    if damage == "bad rows":
        for n in range(100, len(text), 9_000):
            text[n] = b"not a trade\r\n"
    if damage == "scientific":
        for n in range(100, len(text), 50):
            text[n] = text[n].replace(b"1.00000000", b"1E0").replace(b"61000.", b"5.")
            text[n] = b"%d,1.5E-7,2e1,1,1723161180000,true,true\n" % n
    if damage == "header inside":
        header = HEADERS["spot trades"] + b"\n"
        text = [header, *text[:40_000], header, *text[40_000:]]
    body = gzip.compress(b"".join(text), 1)
    path.write_bytes(body[:-1_000] if damage == "cut" else body)
    with patch.object(read_csv, "CHUNK", 1 << 20):
        assert in_columns(path, threads) == one_by_one(path)


def test_an_overlong_line_is_named(folder: Path, large: bytes) -> None:
    path = folder / NAMES["spot trades"]
    for size in (lines.MAX_LINE + 1, 2 * lines.MAX_LINE, 5 * read_csv.CHUNK):
        path.write_bytes(large + b"1" * size + b"\n" + large)
        with patch.object(read_csv, "CHUNK", 3 * lines.MAX_LINE // 2):
            found = in_columns(path)
        assert found == one_by_one(path)
        assert isinstance(found, tuple)
        assert str(found[1].bad_examples[0]) == "line 60001: longer than 1048576 bytes"


@pytest.mark.parametrize("threads", [1, 2])
def test_candles_of_a_file(folder: Path, large: bytes, threads: int) -> None:
    path = folder / NAMES["spot trades"]
    path.write_bytes(large)
    file = CsvFile(path)
    found = list(join(file.map(partial(fold, file.symbol), threads)))
    groups = by_minute(open_replay(path))
    assert found == [fold_minute(Candle(*key), group) for key, group in groups.items()]


def test_an_error_of_the_function_ends_the_reading(folder: Path, large: bytes) -> None:
    path = folder / NAMES["spot trades"]
    path.write_bytes(large)

    def fail(batch: object) -> None:
        raise RuntimeError("stop")

    for threads in (1, 2):
        with pytest.raises(RuntimeError, match="stop"):
            list(CsvFile(path).map(fail, threads))


def test_a_recording_is_refused(folder: Path) -> None:
    path = folder / "recording.jsonl"
    path.write_text('{"s":"BTCUSDT","t":1,"p":"2","q":"3","T":1723161255342,"m":true}\n')
    with pytest.raises(UsageError, match="holds JSON lines"):
        CsvFile(path)


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("time", [b"1723161180000", b"1723161180000123"])
@pytest.mark.parametrize(
    ("price", "quantity"),
    [
        (b"61837.63000000", b"0.00299000"),
        (b"61837.6", b"12"),
        (b"0.5", b"1234567890.12345678"),
        (b"104823", b"0.0"),
    ],
)
def test_a_usual_file_needs_no_general_parser(
    folder: Path, kind: str, time: bytes, price: bytes, quantity: bytes
) -> None:
    between = [b"9.5"] * (2 if "agg" in kind else 1)
    after = [b"true"] if kind.startswith("spot") else []
    row = [b"%d", price, quantity, *between, time, b"false", *after]
    text = b"".join(b",".join(row) % n + b"\n" for n in range(95, 2_000))
    path = folder / NAMES[kind]
    path.write_bytes(HEADERS[kind] + b"\r\n" + text)
    with patch.object(read_csv, "_is_unambiguous", None):
        assert in_columns(path) == one_by_one(path)
