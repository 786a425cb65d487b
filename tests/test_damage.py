"""Documents with which a repair replaces damaged ones."""

from dataclasses import asdict
from typing import Any

import pytest
from observing.sites import CANDLE, FakeSite

from mcloud.clouds.ports import HEARTBEAT, Heartbeat
from mcloud.damage import restored
from mcloud.documents import Damaged, decode

SOUND = Heartbeat("BTCUSDT", CANDLE.start + 15_342, 9757, 20, 1_723_161_300.0)


@pytest.mark.parametrize("name", ["last_trade_time", "trades", "messages", "at"])
@pytest.mark.parametrize("value", [None, "x", -1, 2**70])
def test_a_heartbeat_keeps_its_sound_fields(name: str, value: Any) -> None:
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
