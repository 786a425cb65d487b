"""The examples on the page about formats are test vectors."""

import gzip
import json
import re
from pathlib import Path

from mcloud.market.archive import pack, unpack
from mcloud.market.block import (
    Block,
    BlockEntry,
    block_of,
    pack_block,
    pack_index,
    unpack_index,
)
from mcloud.market.candle import Candle, by_minute, fold
from mcloud.market.envelope import decode, encode
from mcloud.market.staged import PREFIX, parts
from mcloud.market.trade import Trade

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "formats.md"


def examples(title: str) -> list[str]:
    found = re.findall(
        rf'```(?:json|text) title="{title}"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL
    )
    assert found
    return found


def trades_of(lines: str) -> list[Trade]:
    return [Trade.from_binance(json.loads(line)) for line in lines.splitlines()]


def test_messages_on_the_page_contain_the_lines_below_them() -> None:
    for body, lines in zip(examples("message"), examples("lines"), strict=True):
        assert list(decode(body.strip()).trades) == trades_of(lines)
        written = encode(trades_of(lines))
        assert decode(written.body, written.attributes) == decode(body.strip())
        if written.attributes["encoding"] == "json":
            assert written.body == body.strip()


def test_the_candle_holds_the_trades_of_the_message() -> None:
    (text,) = examples("candle")
    candle = Candle.from_record(json.loads(text))
    groups = by_minute(trades_of(examples("lines")[1]))
    folded = fold(Candle(candle.symbol, candle.start), groups[candle.symbol, candle.start])
    assert folded == (candle, ())
    assert json.dumps(candle.to_record(), separators=(",", ":")) == text.strip()


def test_every_word_of_the_table_is_a_fragment() -> None:
    words = re.findall(r"^\| (`\d+[/~:].*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(words) == 4
    for word in (text for cell in words for text in re.findall("`(.*?)`", cell)):
        candle = Candle.decode("BTCUSDT.um", "2024-08-08T23:54:00Z", word)
        rebuilt = Candle(candle.symbol, candle.start, candle.fragments)
        assert rebuilt.encode_fragments() == word


def test_messages_one_a_line_are_a_staged_object() -> None:
    (key,) = examples("staged-key")
    assert key.startswith(PREFIX)
    text = "\n".join(body.strip() for body in examples("message"))
    (part,) = parts(text.encode())
    assert list(part.trades) == [each for lines in examples("lines") for each in trades_of(lines)]
    assert part.foreign == ()


def test_the_key_on_the_page_matches_the_lines() -> None:
    (key,) = examples("key")
    lines = examples("lines")[1]
    trades = [trade for trade in trades_of(lines) if trade.symbol == "BTCUSDT.um"]
    (item,) = pack(trades)
    assert item.key == key.strip()
    assert unpack(item.body) == trades


def test_the_block_and_its_index_match_the_lines_of_the_hour() -> None:
    lines = examples("lines")[1]
    trades = [trade for trade in trades_of(lines) if trade.symbol == "BTCUSDT.um"]
    item = pack_block(trades)
    assert [item.key] == [key.strip() for key in examples("block-key")]
    assert unpack(item.body) == trades
    block = block_of("BTCUSDT.um", 8)
    (index,) = examples("index")
    (tag,) = (each["tag"] for each in json.loads(index)["blocks"])
    written = pack_index({block: BlockEntry(tag, Block(block, item.body).hours)})
    assert [written.key] == [key.strip() for key in examples("index-key")]
    assert gzip.decompress(written.body).decode() == index.strip()
    assert unpack_index(written.key, gzip.compress(index.encode())) == unpack_index(*written)
