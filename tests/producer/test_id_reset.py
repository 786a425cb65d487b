"""Distinguish an exchange that restarts its ids from one that repeats a trade."""

from mcloud.market.trade import Trade
from mcloud.producer.id_reset import LONG, IdReset

from .sources import START, trade, trades


def at(time: int, id_: int = 5, symbol: str = "BTCUSDT") -> Trade:
    return trade(id_, symbol)._replace(time=START + time)


def test_admitted_trades_are_no_problem() -> None:
    anew = IdReset()
    for id_ in range(10):
        anew.look([at(id_ * LONG, id_)], [at(id_ * LONG, id_)])
    assert anew.problem == ""


def test_repeats_of_admitted_trades_are_no_reset() -> None:
    anew = IdReset()
    taken = [at(n * LONG, n) for n in range(10)]
    anew.look(taken, taken)
    for each in taken:
        anew.look([each], [])
    assert anew.problem == ""


def test_newer_trades_that_stay_dropped_are_a_reset_of_their_symbol() -> None:
    anew = IdReset()
    anew.look(both := [at(0, 1000), at(0, 7, "ETHUSDT")], both)
    anew.look([at(1), at(LONG, symbol="ETHUSDT")], [])
    assert anew.problem == ""
    anew.look([at(LONG)], [])
    assert anew.problem == ""
    anew.look([at(LONG + 1)], [])
    assert anew.problem.startswith("trades of BTCUSDT are dropped")
    assert "another --name" in anew.problem


def test_a_reset_is_also_detected_after_a_restart() -> None:
    anew = IdReset()
    anew.look([at(0)], [])
    anew.look([at(LONG, 6)], [])
    assert "BTCUSDT" in anew.problem


def test_an_admitted_trade_ends_the_problem() -> None:
    anew = IdReset()
    anew.look([at(0)], [])
    anew.look([at(LONG, 6)], [])
    anew.look([at(LONG + 1, 2000)], [at(LONG + 1, 2000)])
    assert anew.problem == ""
    anew.look(trades([1, 2]), [])
    assert anew.problem == ""
