"""Avro definitions, and messages in both encodings."""

import json
from typing import Any

import pytest

from mcloud.local.gcp.avro import AvroError, AvroSchema


def field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind}


RECORD = {
    "type": "record",
    "name": "Trade",
    "namespace": "desk",
    "fields": [
        field("symbol", "string"),
        field("side", {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}),
        field("prices", {"type": "array", "items": "double"}),
        field("tags", {"type": "map", "values": "int"}),
        field("hash", {"type": "fixed", "name": "Hash", "size": 2}),
        field("other", ["null", "desk.Side"]),
        field("is_maker", "boolean"),
    ],
}
VALUE: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "prices": [1.5],
    "tags": {"a": -1},
    "hash": "\u0001\u0002",
    "other": {"desk.Side": "BUY"},
    "is_maker": True,
}
BINARY = (
    b"\x0eBTCUSDT"  # a length of 7
    b"\x02"  # the second symbol
    b"\x02\x00\x00\x00\x00\x00\x00\xf8\x3f\x00"  # a block of one double, and the end
    b"\x01\x06\x02a\x01\x00"  # a block of one item and 3 bytes: "a" and -1
    b"\x01\x02"
    b"\x02\x00"  # the second branch, and the first symbol
    b"\x01"
)


def schema(definition: Any = RECORD) -> AvroSchema:
    return AvroSchema(json.dumps(definition))


def test_a_message_in_json() -> None:
    schema().check_json(json.dumps(VALUE).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": None},
        {"side": "HOLD"},
        {"prices": ["1.5"]},
        {"prices": 1.5},
        {"tags": {"a": 2**31}},
        {"tags": {"a": True}},
        {"hash": "123"},
        {"other": "BUY"},
        {"other": {"int": 1}},
        {"is_maker": 1},
    ],
)
def test_a_message_in_json_that_does_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(AvroError):
        schema().check_json(json.dumps(VALUE | change).encode())


def test_a_message_in_binary() -> None:
    schema().check_binary(BINARY)
    for size in range(len(BINARY)):
        with pytest.raises(AvroError):
            schema().check_binary(BINARY[:size])
    with pytest.raises(AvroError):
        schema().check_binary(BINARY + b"\0")


@pytest.mark.parametrize("number", [0, -1, 63, 64, -64, -65, 2**31 - 1, -(2**63)])
def test_numbers_of_any_length(number: int) -> None:
    zigzag = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while zigzag > 0x7F:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    schema("long").check_binary(bytes(encoded))


def test_a_record_may_contain_itself() -> None:
    definition = {"type": "record", "name": "List", "fields": [field("next", ["null", "List"])]}
    schema(definition).check_json(b'{"next": {"List": {"next": null}}}')
    schema(definition).check_binary(b"\x02\x00")


@pytest.mark.parametrize(
    "definition",
    [
        7,
        "trade",
        {"type": "trade"},
        {"type": "array"},
        {"type": "record", "name": "A"},
        {"type": "record", "fields": []},
        {"type": "record", "name": "A", "fields": [{"name": "a"}]},
        {"type": "enum", "name": "A"},
        {"type": "fixed", "name": "A", "size": "big"},
    ],
)
def test_what_is_no_definition(definition: Any) -> None:
    with pytest.raises(AvroError):
        schema(definition)
