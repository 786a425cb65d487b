"""Documents with which a repair replaces damaged ones."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from observing.sites import CANDLE, FakeSite

from mcloud.clouds.ports import HEARTBEAT, Heartbeat
from mcloud.damage import FoundDamage, restored
from mcloud.documents import Damaged, decode, encode

SOUND = Heartbeat("BTCUSDT", CANDLE.start + 15_342, 9757, 20, 1_723_161_300.0)


@pytest.mark.parametrize("name", ["last_trade_time", "trades", "messages", "at"])
@pytest.mark.parametrize("value", [None, "x", -1, 2**70])
def test_a_heartbeat_keeps_its_valid_fields(name: str, value: Any) -> None:
    stored = asdict(SOUND) | {name: value}
    broken = decode(Heartbeat, stored, HEARTBEAT + "BTCUSDT")
    assert isinstance(broken, Damaged)
    found = restored(FakeSite(last=CANDLE), broken)  # type: ignore[arg-type]
    assert found is not None
    lost = {"last_trade_time": CANDLE.start, "trades": 0, "messages": 0, "at": 1_723_161_300.0}
    assert asdict(found) == asdict(SOUND) | {name: lost[name]}


@pytest.mark.parametrize("found", [None, [], "x", {}])
def test_a_heartbeat_comes_from_the_candles(found: Any) -> None:
    broken = Damaged("it is damaged", HEARTBEAT + "BTCUSDT", found=found)
    again = restored(FakeSite(last=CANDLE), broken)  # type: ignore[arg-type]
    assert again == Heartbeat("BTCUSDT", CANDLE.start, 0, 0, 1_723_161_300.0)
    assert restored(FakeSite(last=None), broken) is None  # type: ignore[arg-type]


def test_programs_get_everything_of_a_damage() -> None:
    broken = Damaged("epoch is 'x', not a whole number", "the debt gcp", is_newer=True)
    kept = FoundDamage("aws", broken, "none: upgrade this mcloud", None)
    repairable = FoundDamage("", broken, "rename it", lambda: None)
    assert json.dumps([encode(each.document) for each in (kept, repairable)]) == json.dumps(
        [
            {
                "site": "aws",
                "document": "the debt gcp",
                "what": "epoch is 'x', not a whole number",
                "newer": True,
                "repair": None,
                "why_none": "none: upgrade this mcloud",
            },
            {
                "site": None,
                "document": "the debt gcp",
                "what": "epoch is 'x', not a whole number",
                "newer": True,
                "repair": "rename it",
                "why_none": None,
            },
        ]
    )
