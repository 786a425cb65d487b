"""Distinguish an exchange that restarts its ids from one that repeats a trade."""

from mcloud.market.trade import Trade
from mcloud.producer.id_reset import LONG, IdReset

from .sources import START, trade, trades


def at(time: int, id_: int = 5, symbol: str = "BTCUSDT") -> Trade:
    return trade(id_, symbol)._replace(time=START + time)


def test_admitted_trades_are_no_problem() -> None:
    id_reset = IdReset()
    for id_ in range(10):
        id_reset.compare([at(id_ * LONG, id_)], [at(id_ * LONG, id_)])
    assert id_reset.problem == ""


def test_repeats_of_admitted_trades_are_no_reset() -> None:
    id_reset = IdReset()
    taken = [at(n * LONG, n) for n in range(10)]
    id_reset.compare(taken, taken)
    for each in taken:
        id_reset.compare([each], [])
    assert id_reset.problem == ""


def test_newer_trades_that_stay_dropped_are_a_reset_of_their_symbol() -> None:
    id_reset = IdReset()
    id_reset.compare(both := [at(0, 1000), at(0, 7, "ETHUSDT")], both)
    id_reset.compare([at(1), at(LONG, symbol="ETHUSDT")], [])
    assert id_reset.problem == ""
    id_reset.compare([at(LONG)], [])
    assert id_reset.problem == ""
    id_reset.compare([at(LONG + 1)], [])
    assert id_reset.problem.startswith("trades of BTCUSDT are dropped")
    assert "another --name" in id_reset.problem


def test_a_reset_is_also_detected_after_a_restart() -> None:
    id_reset = IdReset()
    id_reset.compare([at(0)], [])
    id_reset.compare([at(LONG, 6)], [])
    assert "BTCUSDT" in id_reset.problem


def test_an_admitted_trade_ends_the_problem() -> None:
    id_reset = IdReset()
    id_reset.compare([at(0)], [])
    id_reset.compare([at(LONG, 6)], [])
    id_reset.compare([at(LONG + 1, 2000)], [at(LONG + 1, 2000)])
    assert id_reset.problem == ""
    id_reset.compare(trades([1, 2]), [])
    assert id_reset.problem == ""
