from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mcloud.backfill.dumps import Dump, dumps

days = st.dates(date(2017, 1, 1), date(2030, 12, 31))


@given(days, st.integers(0, 800))
def test_the_files_cover_each_day_once(start: date, length: int) -> None:
    end = start + timedelta(length)
    found = dumps("BTCUSDT", start, end)
    covered = [day.first for each in found for day in each.daily()]
    assert covered == [start + timedelta(n) for n in range(length + 1)]
    # A whole month is one file, so there are at most two months of days.
    assert sum(not each.is_monthly for each in found) <= 60


def test_names_are_those_of_binance() -> None:
    day = date(2024, 8, 8)
    assert Dump("BTCUSDT", day, day).folder == "spot/daily/trades/BTCUSDT"
    assert Dump("BTCUSDT", day, day).name == "BTCUSDT-trades-2024-08-08"
    (month,) = dumps("ETHUSDT.um", date(2024, 2, 1), date(2024, 2, 29), "aggTrades")
    assert month.folder == "futures/um/monthly/aggTrades/ETHUSDT"
    assert month.name == "ETHUSDT-aggTrades-2024-02"
    assert month.stored_symbol == "ETHUSDT.um.agg"
