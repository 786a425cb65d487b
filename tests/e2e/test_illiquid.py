"""A symbol trades once a minute: each trade makes its own candle, and none is a dead letter."""

from decimal import Decimal

import pytest
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.local.state import State
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_696_982_400_000  # ms
MINUTE = 60_000  # ms


def trades(symbol: str, count: int) -> list[Trade]:
    """Return one trade per minute, in the format of Binance's files.

    An example is ``1,100.5,7,0,1696982400000,True,True``.
    """
    return [
        Trade(
            symbol, n, Decimal(f"{99 + n % 7}.6"), Decimal(f"{n % 5 + 1}"), START + n * MINUTE, True
        )
        for n in range(1, count + 1)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("site", ["aws", "gcp"])
@pytest.mark.parametrize(("messages", "minutes"), [(12, 1000), (1000, 1)])
def test_every_minute_is_stored_and_nothing_is_a_dead_letter(
    embedded: State, site: str, messages: int, minutes: int
) -> None:
    opened = open_site(site, embedded.resources()[site])
    dead = opened.queue.dead_letter_depth().ready
    symbol = f"THIN{messages}{site.upper()}"
    made = trades(symbol, messages * minutes)
    sent = [made[at : at + minutes] for at in range(0, len(made), minutes)]
    assert opened.queue.send([encode(each) for each in sent]) == []
    expected = expected_rows(made)
    eventually(lambda: stored_rows(opened, [symbol]) == expected, pause=1.0)
    ids = {(symbol, trade.id) for trade in made}
    eventually(lambda: archived_ids(opened, [symbol]) == ids, pause=0.5)
    assert opened.queue.dead_letter_depth().ready == dead
