"""The stages of a trade, each with its best source, or the reason why it is unknown."""

from decimal import Decimal
from typing import Any

from mcloud.clouds.ports import LogLine
from mcloud.market.trade import Trade
from mcloud.producer.message_log import Journey
from mcloud.trace.timeline import STAGES, SiteFindings, SourceRecord, described, iso, pick, stages

TRADE = Trade("BTCUSDT", 5, Decimal(7), Decimal(1), 1_000, True)
TIMES = {"queued": 1_250, "began": 1_300.0, "archived": 1_310, "stored": 1_320}
LINE = LogLine(1.5, "stored", {"messages": 1, **TIMES})
EVERYTHING = SiteFindings(
    trade=TRADE, key="raw/x", written=1.309, candle="2024-08-08T23:54:00Z", lines=(LINE,)
)


def record(sent: dict[str, int], name: str = "default", **more: Any) -> SourceRecord:
    return SourceRecord(name, Journey(1, 9, received=1_100, spooled=1_200, sent=sent, **more))


def times(*arguments: Any) -> dict[str, int | None]:
    timeline = stages(*arguments)
    assert tuple(each.name for each in timeline) == STAGES
    assert all(each.source for each in timeline)
    return {each.name: each.at for each in timeline}


def why(name: str, *arguments: Any) -> str:
    (stage,) = [each for each in stages(*arguments) if each.name == name]
    return stage.source


def test_a_complete_timeline_has_every_stage() -> None:
    assert list(times("aws", EVERYTHING, record({"aws": 1_240}), TRADE).values()) == [
        *(1_000, 1_100, 1_200, 1_240, 1_300, 1_310, 1_320)
    ]


def test_without_a_local_producer_the_queue_has_the_time_of_arrival() -> None:
    assert times("aws", EVERYTHING, None, TRADE) == {
        **dict.fromkeys(("received", "spooled")),
        "exchange": 1_000,
        "sent": 1_250,
        "processed": 1_300,
        "archived": 1_310,
        "stored": 1_320,
    }
    assert why("sent", "aws", EVERYTHING, None, TRADE) == "the queue's stamp"
    several = LogLine(1.5, "stored", {**LINE.fields, "messages": 5})
    found = SiteFindings(lines=(several,))
    assert why("sent", "aws", found, None, None) == "the queue's stamp, the last of 5 messages"


def test_without_a_log_the_object_has_a_date() -> None:
    found = SiteFindings(
        trade=TRADE, key="raw/x", written=1.309, candle="C", log_note="no permission"
    )
    known = times("aws", found, record({"aws": 1_240}), TRADE)
    assert (known["processed"], known["archived"], known["stored"]) == (None, 1_309, None)
    assert why("processed", "aws", found, None, TRADE) == "no permission"
    assert (
        why("stored", "aws", found, None, TRADE)
        == "in the candle C; no log shows when it was stored"
    )


def test_log_lines_of_before_a_reset_and_of_redeliveries_are_ignored() -> None:
    def line(at: int) -> LogLine:
        return LogLine(at / 1000, "stored", {"began": at - 9, "archived": at, "stored": at + 9})

    found = SiteFindings(
        written=100.0, key="raw/x", lines=(line(50_000), line(100_400), line(130_000))
    )
    assert times("aws", found, None, TRADE)["archived"] == 100_400
    # A replicator has copied it later, so only the function's log knows this stage.
    found = SiteFindings(written=200.0, key="raw/x", lines=(line(50_000),))
    assert times("aws", found, None, TRADE)["stored"] == 50_009


def test_an_export_service_archives_a_trade_after_it_is_stored() -> None:
    times = {name: at for name, at in TIMES.items() if name != "archived"}
    line = LogLine(1.5, "stored", {"messages": 1, **times})
    found = SiteFindings(trade=TRADE, key="raw/x", written=280.0, candle="C", lines=(line,))
    timeline = stages("gcp", found, record({"gcp": 1_240}), TRADE)
    last = [(each.name, each.at, each.source) for each in timeline[-2:]]
    assert last == [
        ("stored", 1_320, "the function's log"),
        ("archived", 280_000, "date of the object"),
    ]
    assert all((row.after_ms or 0) >= 0 for row in described(timeline))
    waiting = SiteFindings(archive_note="not in 23:00", lines=(line,))
    assert stages("gcp", waiting, None, None)[-1] == ("archived", None, "not in 23:00")


def test_log_lines_of_before_a_reset_are_ignored_with_an_export_service() -> None:
    before, after = (
        LogLine(at / 1000, "stored", {"began": at - 9, "stored": at}) for at in (50_000, 5_000_000)
    )
    found = SiteFindings(written=5_300.0, key="raw/x", lines=(before, after))
    (stored,) = [each for each in stages("gcp", found, None, TRADE) if each.name == "stored"]
    assert stored.at == 5_000_000


def test_a_trade_in_transit() -> None:
    nothing = SiteFindings(
        candle_note="above the newest", archive_note="not in 23:00", log_note="no line"
    )
    waiting = record({})
    assert times("aws", nothing, waiting, None)["spooled"] == 1_200
    assert "in its spool" in why("sent", "aws", nothing, waiting, None)
    assert "to gcp only" in why("sent", "aws", nothing, record({"gcp": 1}), None)
    assert why("exchange", "aws", nothing, waiting, None) == "no raw archive has the trade"
    assert why("exchange", "aws", nothing, waiting, TRADE) == "trade, from another site"
    assert why("archived", "aws", nothing, waiting, None) == "not in 23:00"
    assert why("stored", "aws", nothing, waiting, None) == "above the newest"


def test_a_refused_message_is_shown() -> None:
    refused = LogLine(None, "refused a message", {"reason": "volumes beyond 38 digits"})
    said = why("processed", "aws", SiteFindings(lines=(refused,)), None, None)
    assert said == "the function refused its message: volumes beyond 38 digits"


def test_the_first_message_with_the_trade_is_used() -> None:
    one, two = record({"aws": 30}, "one"), record({"aws": 20, "gcp": 90}, "two")
    assert pick([one, two], "aws") == two
    assert pick([one, two], "gcp") == two
    assert pick([one, two], "west") == one
    assert pick([], "aws") is None


def test_clocks_that_differ_are_shown_as_they_are() -> None:
    rows = described(stages("aws", EVERYTHING, record({"aws": 1_305}), TRADE))
    by_name = {row.stage: row.after_ms for row in rows}
    assert by_name["processed"] == -5
    assert by_name["exchange"] is None
    # After an unknown stage, the time counts from the last known stage.
    rows = described(stages("aws", EVERYTHING, None, TRADE))
    assert {row.stage: row.after_ms for row in rows}["sent"] == 250


def test_times_as_texts() -> None:
    assert iso(1_723_161_255_042) == "2024-08-08T23:54:15.042Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
