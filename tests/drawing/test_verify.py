"""Drawing a comparison of sites."""

from dataclasses import replace

from rich.console import Console, RenderableType

from mcloud.drawing.verify import RUNS, SHOWN, plan_lines, view
from mcloud.replication.hour_digest import ALL_TIME
from mcloud.replication.verify_document import (
    RepairDocument,
    RepairPlanDocument,
    VerifyDocument,
    document,
)
from mcloud.replication.verify_report import Finding, Tally, VerifyReport

START = 1_723_161_600_000


def shown(drawn: RenderableType) -> list[str]:
    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()]


def report(
    *findings: Finding, deep: bool = False, symbols: tuple[str, ...] = ("BTCUSDT",)
) -> VerifyDocument:
    sites = {"aws": Tally(1_200, 60, 1_000), "gcp": Tally(1_199, 59, 990)}
    what = ("candles", "raw")
    return document(VerifyReport(what, ALL_TIME, deep, symbols, sites, findings))


def test_sites_that_are_equal() -> None:
    assert shown(view(report(deep=True))) == [
        "               aws    gcp",
        "candles      1,200  1,199",
        "equal        1,200  1,199",
        "missing          0      0",
        "different        0      0",
        "raw objects     60     59",
        "unarchived       0      0",
        "orphaned         0      0",
        "incomplete       0      0",
        "damaged          0      0",
        "",
        "equal and complete, and every candle matches its raw trades",
    ]


def test_empty_sites_are_not_called_equal() -> None:
    assert shown(view(report(symbols=())))[-1].startswith("there is nothing to compare")


def test_every_finding_is_reported() -> None:
    lines = shown(
        view(
            report(
                Finding(
                    "missing", "BTCUSDT", "gcp", START, runs=((5, 9),), elsewhere=("aws", "west")
                ),
                Finding("incomplete", "BTCUSDT", "", START, runs=tuple((n, n) for n in (1, 3, 5))),
                Finding("damaged", "BTCUSDT", "aws", START, key="raw/x.gz", why="it is not gzip"),
                Finding("wrong", "BTCUSDT", "aws", START, why="kept 1, refused 2"),
            )
        )
    )
    assert lines[12:] == [
        "missing  gcp  BTCUSDT  2024-08-09T00:00:00Z  5-9; there at aws, west",
        "incomplete  all sites  BTCUSDT  2024-08-09T00:00:00Z  1 3 5",
        "damaged  aws  BTCUSDT  2024-08-09T00:00:00Z  raw/x.gz; it is not gzip",
        "wrong  aws  BTCUSDT  2024-08-09T00:00:00Z; kept 1, refused 2",
        "",
        "4 findings",
    ]
    counts = [line.rsplit(maxsplit=2) for line in lines[1:11]]
    assert counts == [
        ["candles", "1,200", "1,199"],
        ["equal", "1,199", "1,199"],
        ["missing", "0", "1"],
        ["different", "0", "0"],
        ["wrong", "1", "0"],
        ["raw objects", "60", "59"],
        ["unarchived", "0", "0"],
        ["orphaned", "0", "0"],
        ["incomplete", "1", "1"],
        ["damaged", "1", "0"],
    ]


def test_one_finding_is_singular() -> None:
    assert shown(view(report(Finding("missing", "BTCUSDT", "gcp", START))))[-1] == "1 finding"


def test_long_lists_are_shortened_with_a_count() -> None:
    runs = tuple((10 * n, 10 * n + 1) for n in range(RUNS + 3))
    found = [Finding("different", "BTCUSDT", "gcp", START + n, runs) for n in range(SHOWN + 1_000)]
    lines = shown(view(report(*found)))
    assert lines[11].endswith("0-1 10-11 20-21 30-31 … 3 more runs")
    assert lines[-3] == "… and 1,000 more; all of them with -o json"
    assert len(lines) == 11 + SHOWN + 3


NOTHING = RepairPlanDocument(
    candles_to_merge=0,
    candles_to_rewrite=0,
    candles_to_write_again=0,
    objects_to_copy=0,
    bytes_to_copy=0,
    objects_to_replace=0,
    objects_to_move=0,
    trades_to_fold=0,
    trades_to_fetch=0,
    exchange_requests=0,
    beyond_repair=(),
)


def test_a_plan_lists_only_its_steps() -> None:
    plan = replace(
        NOTHING,
        candles_to_merge=25,
        objects_to_copy=20,
        bytes_to_copy=41_000,
        trades_to_fetch=1_500,
        exchange_requests=2,
        beyond_repair=("aws: a candle [of whom?] is damaged",),
    )
    assert shown(plan_lines(RepairDocument("binance", 0.5, plan))) == [
        "25 candles are completed from another site",
        "20 raw objects are copied, 41,000 bytes",
        "1,500 trades come from binance: 2 requests",
        "not fixed: aws: a candle [of whom?] is damaged",
    ]


def test_a_plan_shows_the_requests_to_the_exchange() -> None:
    plan = replace(NOTHING, trades_to_fetch=1_650_282_914, exchange_requests=1_650_283)
    assert shown(plan_lines(RepairDocument("binance", 412_570.75, plan))) == [
        "1,650,282,914 trades come from binance: 1,650,283 requests, at least 4 d 18 h"
    ]
