"""Replaying files that are damaged or are not recordings."""

import gzip
import json
import os
import socket
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcloud.errors import UsageError
from mcloud.feed.csv_dump import table_of
from mcloud.feed.feed import BadLine, FeedReport
from mcloud.feed.json_lines import parse_message
from mcloud.feed.lines import MAX_LINE
from mcloud.feed.replay import EXAMPLES, open_replay
from mcloud.market.trade import BadTrade, Trade

from . import files
from .files import TRADES, write


def bent(**fields: object) -> str:
    event = json.loads(files.single(TRADES[0])) | fields
    return json.dumps({name: value for name, value in event.items() if value is not None})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"a":1}', "no field 's'"),
        ('{"stream":"btcusdt@trade"}', "no data in the stream message"),
        ('{"stream":"btcusdt@trade","data":5}', "no data in the stream message"),
        (bent(p=None), "no field 'p'"),
        (bent(p=61837.63), "p is not a plain decimal text"),
        (bent(p="NaN"), "p is not a plain decimal text"),
        (bent(p="0.00"), "p is zero"),
        (bent(q="-1"), "q is not a plain decimal text"),
        (bent(t="5"), "t is not a whole number"),
        (bent(t=-5), "t is not a whole number"),
        (bent(T=True), "T is not a whole number"),
        (bent(T=10**18), "T is not a whole number"),
        (bent(m=1), "m is not true or false"),
        (bent(s="btc usdt"), "not a symbol"),
        (bent(s=["BTCUSDT"]), "not a symbol"),
        (bent(T=1723161255), "the time is before 2009: 1723161255"),
        ("1723161255342 is no time stamp {}", "not JSON"),
    ],
)
def test_a_bad_json_line_is_named_and_skipped(tmp_path: Path, line: str, reason: str) -> None:
    good = [files.combined(trade) for trade in TRADES]
    replay = open_replay(write(tmp_path / "a.jsonl", [good[0], line, *good[1:]]), ["BTCUSDT"])
    assert list(replay) == TRADES
    assert replay.report.bad == 1
    (bad,) = replay.report.bad_examples
    assert bad.line == 2
    assert bad.reason.startswith(reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,2,3", "7 columns expected, not 3"),
        ("x,61837.63,0.1,1,1723161255342,True,True", "id is not a whole number"),
        ("1_0,61837.63,0.1,1,1723161255342,True,True", "id is not a whole number"),
        ("-1,61837.63,0.1,1,1723161255342,True,True", "id is not a whole number"),
        ("9223372036854775808,61837.63,0.1,1,1723161255342,True,True", "id is not a whole number"),
        ("1,1e17,0.1,1,1723161255342,True,True", "price is not a plain decimal text"),
        ("1,0.0,0.1,1,1723161255342,True,True", "p is zero"),
        ("1,61837.63,-0.1,1,1723161255342,True,True", "qty is not a plain decimal text"),
        ("1,61837.63,0.1,1,2024-08-08,True,True", "time is not a whole number"),
        ("1,61837.63,0.1,1,1723161255342000000,True,True", "time is not a whole number"),
        ("1,61837.63,0.1,1,1723161255342,1,True", "is_buyer_maker is not true or false"),
    ],
)
def test_a_bad_csv_row_is_named_and_skipped(tmp_path: Path, row: str, reason: str) -> None:
    good = [files.csv_trade(trade) for trade in TRADES]
    lines = [files.CSV_HEADER, good[0], row, *good[1:]]
    replay = open_replay(write(tmp_path / "BTCUSDT-trades-2024-08-08.csv", lines))
    assert list(replay) == TRADES
    assert replay.report.bad == 1
    (bad,) = replay.report.bad_examples
    assert bad.line == 3
    assert bad.reason.startswith(reason)


def test_the_first_few_bad_lines_are_named_and_all_are_counted(tmp_path: Path) -> None:
    lines = [files.combined(TRADES[0]), *["junk"] * 20]
    replay = open_replay(write(tmp_path / "a.jsonl", lines))
    assert list(replay) == TRADES[:1]
    named = tuple(BadLine(line, "not JSON") for line in range(2, 2 + EXAMPLES))
    assert replay.report == FeedReport(trades=1, bad=20, bad_examples=named)


def test_bad_lines_before_the_first_good_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'"T":1}\n\xff\xfe\n' + files.combined(TRADES[0]).encode())
    replay = open_replay(path)
    assert list(replay) == TRADES[:1]
    assert replay.report.bad_examples == (BadLine(1, "not JSON"), BadLine(2, "not UTF-8"))


def test_an_overlong_line_costs_one_line(tmp_path: Path) -> None:
    good = [files.combined(trade) for trade in TRADES]
    for length in (MAX_LINE + 1, 3 * MAX_LINE):
        replay = open_replay(write(tmp_path / "a.jsonl", [good[0], "x" * length, *good[1:]]))
        assert list(replay) == TRADES
        assert replay.report.bad_examples == (BadLine(2, f"longer than {MAX_LINE} bytes"),)
    long_but_fine = good[0] + " " * (MAX_LINE - len(good[0]))
    assert list(open_replay(write(tmp_path / "b.jsonl", [long_but_fine]))) == TRADES[:1]


def many(number: int) -> list[Trade]:
    # Changing quantities keep the compressed file long enough to be cut in many places.
    return [
        TRADES[0]._replace(id=n, quantity=TRADES[0].quantity * (n * 7919 % 1000 + 1))
        for n in range(number)
    ]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_the_readable_part_of_a_truncated_gzip_is_used(tmp_path: Path, share: float) -> None:
    trades = many(20_000)
    path = write(tmp_path / "a.jsonl.gz", map(files.combined, trades))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    replay = open_replay(path)
    read = list(replay)
    # The compressed size grows evenly with the lines, so nearly this share of them must be read.
    assert len(read) > len(trades) * (share - 0.05)
    assert read == trades[: len(read)]
    assert replay.report == FeedReport(
        trades=len(read),
        truncated=f"the compressed data is cut short after line {len(read)}",
    )


def test_only_the_end_mark_of_a_gzip_is_missing(tmp_path: Path) -> None:
    # Every trade is present, and the last one has no newline.
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(files.combined, TRADES)).encode())[:-4])
    replay = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report.bad == 0
    assert replay.report.truncated == "the compressed data is cut short after line 2"


def test_a_wrong_checksum_and_trailing_data_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", map(files.combined, TRADES))
    whole = path.read_bytes()
    for damaged in (whole[:-8] + struct.pack("<II", 1, 1), whole + b"\x01junk"):
        path.write_bytes(damaged)
        replay = open_replay(path)
        assert list(replay) == TRADES
        assert str(replay.report.truncated).startswith("the data cannot be read after line 3")


def test_two_gzip_files_in_one_are_read_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", map(files.combined, TRADES))
    path.write_bytes(path.read_bytes() * 2)
    assert list(open_replay(path)) == TRADES * 2


@given(st.data())
def test_any_byte_flipped_in_a_gzip_ends_in_a_report_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.jsonl.gz"
    whole = bytearray(gzip.compress("\n".join(map(files.combined, TRADES)).encode(), mtime=0))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        replay = open_replay(path)
    except UsageError:
        return
    assert set(replay) <= set(TRADES) or replay.report.truncated or replay.report.bad


def test_a_wrong_checksum_in_a_zip_is_reported(tmp_path: Path) -> None:
    trades = many(20_000)
    path = write(tmp_path / "BTCUSDT-trades-2024-08-08.zip", map(files.csv_trade, trades))
    whole = bytearray(path.read_bytes())
    directory = whole.rindex(b"PK\x01\x02")
    whole[directory + 16] ^= 1  # the checksum
    path.write_bytes(whole)
    replay = open_replay(path)
    read = list(replay)
    assert read == trades[: len(read)]
    assert len(read) > 10_000
    assert "Bad CRC-32" in str(replay.report.truncated)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(UsageError) as raised:
        list(open_replay(path))
    assert str(path) in raised.value.message
    assert raised.value.remedy
    for part in parts:
        assert part in str(raised.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    refused(tmp_path / "none.jsonl", "there is no file")
    refused(tmp_path, "is not a file")  # a source may be a folder, see test_open
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        refused(tmp_path / "s", "is not a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", map(files.combined, TRADES))
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_empty_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    refused(path, "is empty")


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 50,
        b"\0" * (3 * MAX_LINE),
        b'{"name":"mcloud","private":true}',
        b'{"id":1}\n{"id":2}\n',
        b"[1,2,3]\n",
        b"once upon a time\n" * 200,
        files.CSV_HEADER.encode(),
        # a file with klines
        b"1722470400000,64628,64628,64601,64601,8.1,1722470459999,526,1221,2.9,188,0\n" * 3,
        b"\xfd7zXZ\x00 not decompressed here\n",
    ],
)
def test_files_of_no_known_format(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    path.write_bytes(content)
    refused(path, "no trades in a known format", "JSON lines", "aggTrades")


def test_companions_of_a_recording_in_a_zip_are_no_recordings(tmp_path: Path) -> None:
    path = write(tmp_path / "BTCUSDT-trades-2024-08-08.zip", map(files.csv_trade, TRADES))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("BTCUSDT-trades-2024-08-08.zip.CHECKSUM", "0f6d3c2a  BTCUSDT")
        archive.writestr("__MACOSX/._BTCUSDT-trades-2024-08-08.csv", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"\0")
    replay = open_replay(path)
    assert list(replay) == TRADES
    assert replay.report == FeedReport(trades=3)


def test_a_gzip_with_nothing_readable(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", map(files.combined, TRADES))
    path.write_bytes(path.read_bytes()[:12])
    refused(path, "cut short after line 0")


def test_zip_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    refused(path, "holds 0 files, not one")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    refused(path, "holds 2 files, not one")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "not a readable zip file", "download it again")
    write(path, map(files.csv_trade, TRADES))
    encrypted = bytearray(path.read_bytes())
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(encrypted)
    refused(path, "cannot be unpacked", "password")


def test_invalid_symbols_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", map(files.combined, TRADES))
    with pytest.raises(UsageError, match="no symbol is given"):
        open_replay(path, [])
    with pytest.raises(UsageError, match="not a symbol"):
        open_replay(path, ["BTC/USDT"])


@given(st.text() | st.from_regex(r"\{.*\}"))
@example("9" * 5000)
@example('{"e":"trade","T":' + "9" * 400 + "}")
@example('{"s":"\\ud800","t":1,"p":"1","q":"1","T":1,"m":true}')
def test_no_line_raises_an_error_other_than_bad_trade(line: str) -> None:
    with suppress(BadTrade):
        parse_message(line)
    assert table_of(line) is None


@given(files.trades, st.data())
def test_a_row_with_one_character_changed_is_bad_or_a_trade(
    trade: Trade, data: st.DataObject
) -> None:
    for form in files.ROWS:
        row = form(trade)
        table = table_of(row)
        assert table is not None
        at = data.draw(st.integers(0, len(row) - 1))
        changed = row[:at] + data.draw(st.characters()) + row[at + 1 :]
        try:
            read = table.parse(trade.symbol, changed)
        except BadTrade:
            continue
        assert read.price > 0
        assert read.quantity >= 0


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_reported_for_every_kind_of_zip(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("a.jsonl", "\n".join(files.single(trade) for trade in TRADES * 500))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 40] = b"\xaa" * 40
    path.write_bytes(content)
    try:
        replay = open_replay(path, ["BTCUSDT"])
        list(replay)
        told = replay.report.truncated or ""
    except UsageError as error:  # even the first lines are incomplete
        told = str(error)
    assert "the data cannot be read after line" in told
