"""Each command with running clouds: data on stdout, messages on stderr."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.feed.replay import open_replay
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.interval import INTERVALS
from mcloud.market.trade import Trade, to_text
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows

from .conftest import Terminal

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = "CLIUSDT"  # not one of those that other tests send
START = 1_735_775_880_000  # 2025-01-01T23:58:00Z: a day and a few minutes change on the way
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "recorded.jsonl"
    trades = Simulate([SYMBOL], seed=11, start_time=START, count=3_000, rate=10)
    path.write_text("".join(map(_line, trades)))
    return path


@pytest.fixture(scope="module")
def produced(
    embedded: State, recording: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Produce trades, wait until every site has the candles, and return the result."""
    folder = tmp_path_factory.mktemp("produce")
    terminal = Terminal(folder, Path(embedded.options["home"]).parent)
    done = terminal.run("produce", "--source", f"replay:{recording}", "-o", "json")
    assert done.returncode == 0, done.stderr
    expected = expected_rows(open_replay(recording))
    for name, resources in embedded.resources().items():
        site = open_site(name, resources)
        eventually(lambda site=site: stored_rows(site, [SYMBOL]) == expected)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer | {"words": done.stderr}


def test_produce_counts_by_site(produced: dict[str, Any]) -> None:
    assert (produced["read"], produced["complete"]) == (3_000, True)
    assert set(produced["sites"]) == {"aws", "gcp"}
    for site in produced["sites"].values():
        assert 1 <= site.pop("messages") <= 3
        assert site == {"trades": 3_000, "waiting": 0, "error": ""}
    assert produced["holes"] == []
    assert produced["seconds"] > 0
    assert produced["words"] == ""


@pytest.mark.parametrize("site", ["aws", "gcp"])
def test_candles_equal_the_oracle(
    mcloud_up: Terminal, produced: dict[str, Any], recording: Path, site: str
) -> None:
    expected = expected_rows(open_replay(recording))
    done = mcloud_up.run("candles", SYMBOL, "--from", site, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [
        {name: str(value) for name, value in row.items()} for row in json.loads(done.stdout)
    ] == expected
    done = mcloud_up.run("candles", SYMBOL.lower(), "--from", site, "-o", "csv")
    assert list(csv.DictReader(io.StringIO(done.stdout))) == expected
    assert done.stdout.startswith("symbol,timestamp,open,high,low,close,volume,quote_volume,")


@pytest.mark.parametrize("interval", list(INTERVALS))
def test_candles_of_each_interval_equal_the_oracle(
    mcloud_up: Terminal, produced: dict[str, Any], recording: Path, interval: str
) -> None:
    width = INTERVALS[interval]
    # The oracle only knows minutes, so trades are moved to the first minute of their bar.
    moved = [t._replace(time=t.time // width * width) for t in open_replay(recording)]
    done = mcloud_up.run("candles", SYMBOL, "--interval", interval, "--last", "2d", "-o", "csv")
    assert list(csv.DictReader(io.StringIO(done.stdout))) == expected_rows(moved)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--last", "2m"], slice(-2, None)),
        (["--last", "999999w"], slice(None)),
        (["--start", "2025-01-02"], slice(2, None)),
        (["--start", "2025-01-02T00:00:30"], slice(2, None)),
        (["--start", "2025-01-02T02:00+02:00"], slice(2, None)),
        (["--start", "0001-01-01", "--end", "9999-12-31T23:59-23:00"], slice(None)),
        (["--end", "2025-01-02"], slice(2)),
        (["--end", "2025-01-02", "--last", "1m"], slice(1, 2)),
        (["--start", "2025-01-01T23:59", "--end", "2025-01-02T00:01Z"], slice(1, 3)),
        (["--start", "2030-01-01"], slice(0)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_candles_of_a_time_range(
    mcloud_up: Terminal,
    produced: dict[str, Any],
    recording: Path,
    arguments: list[str],
    kept: slice,
) -> None:
    expected = expected_rows(open_replay(recording))
    assert len(expected) >= 4
    done = mcloud_up.run("candles", SYMBOL, *arguments, "-o", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(csv.DictReader(io.StringIO(done.stdout))) == expected[kept]


def test_a_longer_candle_is_complete_for_any_bounds(
    mcloud_up: Terminal, produced: dict[str, Any]
) -> None:
    arguments = ("candles", SYMBOL, "--interval", "1h", "-o", "json")
    whole = json.loads(mcloud_up.run(*arguments, "--start", "2025-01-01").stdout)
    assert [bar["timestamp"] for bar in whole] == ["2025-01-01T23:00:00Z", "2025-01-02T00:00:00Z"]
    cut = ("--start", "2025-01-01T23:59", "--end", "2025-01-02T00:01")
    assert json.loads(mcloud_up.run(*arguments, *cut).stdout) == whole
    assert json.loads(mcloud_up.run(*arguments, "--last", "1m").stdout) == whole[1:]


def test_a_table_of_candles_is_not_truncated(mcloud_up: Terminal, produced: dict[str, Any]) -> None:
    done = mcloud_up.run("candles", SYMBOL)
    rows = json.loads(mcloud_up.run("candles", SYMBOL, "-o", "json").stdout)
    heading, *lines = done.stdout.splitlines()
    assert heading.split()[-1] == "last_id"
    assert [[number(text) for text in line.split()] for line in lines] == [
        [number(value) for name, value in row.items() if name != "symbol"] for row in rows
    ]
    assert ESCAPE not in done.stdout


def number(value: object) -> Decimal | str:
    """Return the value of a cell. Tables pad decimals with zeros, so that they align."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return str(value)


def test_a_terminal_gets_a_chart_and_no_truncated_number(
    mcloud_up: Terminal, produced: dict[str, Any]
) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        mcloud_up.command("candles", SYMBOL),
        cwd=mcloud_up.folder,
        env={**mcloud_up.environment, "TERM": "xterm", "COLUMNS": "60"},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    shown = "".join(_read_all(reader))
    _, words = process.communicate(timeout=PATIENCE)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert all(len(line) <= 60 for line in plain)
    rows = json.loads(mcloud_up.run("candles", SYMBOL, "-o", "json").stdout)
    heading = next(at for at, line in enumerate(plain) if line.startswith("timestamp"))
    columns = plain[heading].split()
    table = [line.split() for line in plain[heading + 1 : heading + 1 + len(rows)]]
    assert [[*map(number, line)] for line in table] == [
        [number(row[column]) for column in columns] for row in rows
    ]
    assert words.startswith("the terminal is too narrow for ")
    assert words.endswith("last_id; `-o csv` shows them\n")
    # Above the table are the newest price, the chart, and its axis of times and days.
    assert plain[0].split()[:2] == [SYMBOL, rows[-1]["close"]]
    assert any("█" in line for line in plain[1:heading])
    times, days = plain[heading - 2 : heading]
    assert times.split() == [row["timestamp"][11:16] for row in rows]
    assert days.split() == ["2025-01-01", "2025-01-02", "UTC"]


def test_indicators_are_right_from_the_first_row_shown(
    mcloud_up: Terminal, produced: dict[str, Any]
) -> None:
    """Earlier candles are read for the indicators, but not shown."""
    arguments = ("candles", SYMBOL, "--with", "sma:2,ema:2,vwap,vwap:2,volatility:2,returns")
    rows = json.loads(mcloud_up.run(*arguments, "-o", "json").stdout)
    closes = [Decimal(row["close"]) for row in rows]
    assert rows[0]["sma:2"] is rows[0]["ema:2"] is rows[0]["returns"] is None
    assert rows[0]["volatility:2"] is rows[1]["volatility:2"] is None
    assert [Decimal(row["sma:2"]) for row in rows[1:]] == [
        Context(prec=12).divide(a + b, Decimal(2)) for a, b in pairwise(closes)
    ]
    # The second minute of the recording ends a day.
    assert rows[1]["vwap"] == rows[1]["vwap:2"]
    last = Context(prec=12).divide(Decimal(rows[2]["quote_volume"]), Decimal(rows[2]["volume"]))
    assert Decimal(rows[2]["vwap"]) == last
    done = mcloud_up.run(*arguments, "--last", "2m", "-o", "json")
    assert json.loads(done.stdout) == rows[-2:]
    done = mcloud_up.run(*arguments, "--last", "2m", "-o", "csv")
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert read == [{name: str(value) for name, value in row.items()} for row in rows[-2:]]
    table = mcloud_up.run("candles", SYMBOL, "--with", "returns").stdout.splitlines()
    column = table[0].split().index("returns")
    shown = [line.split()[column] for line in table[1:]]
    assert shown[0] == "–"
    for text, row in zip(shown[1:], rows[1:], strict=True):
        assert Decimal(text) == round(Decimal(row["returns"]), 8)


QUIET = "QUIETUSDT"
# Minute, id and price: the minutes 1 and 2 are quiet, the id 104 is missing between 5 and 8, and
# the id 107 within minute 9. The minutes 10 to 12 are quiet.
QUIET_TRADES = [
    (0, 100, "10"),
    (3, 101, "11"),
    (4, 102, "12"),
    (5, 103, "12"),
    (8, 105, "14"),
    (9, 106, "15"),
    (9, 108, "16"),
    (13, 109, "17"),
]


@pytest.fixture(scope="module")
def quiet(embedded: State, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Store an illiquid symbol at every site."""
    folder = tmp_path_factory.mktemp("quiet")
    path = folder / "quiet.jsonl"
    trades = [
        Trade(QUIET, id_, Decimal(price), Decimal(1), START + minute * 60_000, False)
        for minute, id_, price in QUIET_TRADES
    ]
    path.write_text("".join(map(_line, trades)))
    terminal = Terminal(folder, Path(embedded.options["home"]).parent)
    done = terminal.run("produce", "--source", f"replay:{path}")
    assert done.returncode == 0, done.stderr
    expected = expected_rows(open_replay(path))
    for name, resources in embedded.resources().items():
        site = open_site(name, resources)
        eventually(lambda site=site: stored_rows(site, [QUIET]) == expected)


def minute_of(row: dict[str, Any]) -> int:
    moment = datetime.fromisoformat(row["timestamp"])
    return (int(moment.timestamp() * 1000) - START) // 60_000


@pytest.mark.parametrize("site", ["aws", "gcp"])
def test_quiet_minutes_are_filled_and_holes_are_not(
    mcloud_up: Terminal, quiet: None, site: str
) -> None:
    arguments = ("candles", QUIET, "--from", site, "--fill", "--with", "sma:2")
    done = mcloud_up.run(*arguments, "-o", "json")
    rows = json.loads(done.stdout)
    assert done.stderr == (
        f"warning: 2 trades are missing from the candles of {QUIET} at {site}: 104 between the "
        "minutes 2025-01-02T00:03:00Z and 2025-01-02T00:06:00Z, and 1 more hole; "
        f"run `mcloud verify --symbols {QUIET} --repair` to fetch them\n"
    )
    assert [minute_of(row) for row in rows] == [*range(6), *range(8, 14)]
    assert [minute_of(row) for row in rows if row["filled"]] == [1, 2, 10, 11, 12]
    assert rows[2] == {
        "symbol": QUIET,
        "timestamp": "2025-01-02T00:00:00Z",
        "filled": True,
        **dict.fromkeys(("open", "high", "low", "close"), "10"),
        "volume": "0",
        "quote_volume": "0",
        "trade_count": 0,
        "first_id": None,
        "last_id": None,
        "sma:2": "10",
    }
    assert [row["sma:2"] for row in rows] == [
        *(None, "10", "10", "10.5", "11.5", "12"),  # up to the first hole
        *(None, None, None, "16", "16", "16.5"),
    ]
    done = mcloud_up.run(*arguments, "-o", "csv")
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert read == [
        {
            name: "" if value is None else str(value).lower() if name == "filled" else str(value)
            for name, value in row.items()
        }
        for row in rows
    ]
    heading, *lines = mcloud_up.run(*arguments).stdout.splitlines()
    assert heading.split()[:2] == ["timestamp", "filled"]
    assert [line.split()[1] == "filled" for line in lines] == [row["filled"] for row in rows]
    # Filled intervals are not stored.
    stored = json.loads(mcloud_up.run("candles", QUIET, "--from", site, "-o", "json").stdout)
    assert [minute_of(row) for row in stored] == [0, 3, 4, 5, 8, 9, 13]
    assert all("filled" not in row for row in stored)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [(1, 3, [1, 2]), (2, 4, [2, 3]), (6, 8, []), (7, 11, [8, 9, 10]), (11, 20, [11, 12, 13])],
)
def test_candles_outside_the_bounds_prove_quiet_intervals_inside(
    mcloud_up: Terminal, quiet: None, start: int, end: int, minutes: list[int]
) -> None:
    moments = (
        datetime.fromtimestamp(START / 1000 + 60 * each, UTC).isoformat() for each in (start, end)
    )
    bounds = [part for pair in zip(("--start", "--end"), moments, strict=True) for part in pair]
    done = mcloud_up.run("candles", QUIET, "--fill", *bounds, "-o", "json")
    assert [minute_of(row) for row in json.loads(done.stdout)] == minutes


def test_longer_intervals_are_filled_alike(mcloud_up: Terminal, quiet: None) -> None:
    """The bars begin at 23:55. The hole between 00:03 and 00:06 affects two bars."""
    done = mcloud_up.run("candles", QUIET, "--fill", "--interval", "5m", "--with", "sma:1")
    assert "2 trades are missing" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[0][11:16] for row in rows] == ["23:55", "00:00", "00:05", "00:10"]
    assert not any("filled" in row for row in rows)


def test_a_range_without_candles_is_reported(mcloud_up: Terminal, produced: dict[str, Any]) -> None:
    arguments = ("candles", SYMBOL, "--start", "2030-01-01")
    done = mcloud_up.run(*arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"no candles of {SYMBOL} at aws in that time range\n"
    assert json.loads(mcloud_up.run(*arguments, "-o", "json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["candles", "CLIUSTD"],
            r"unknown symbol 'CLIUSTD' at aws; choose from .*did you mean 'CLIUSDT'",
        ),
        (
            ["candles", SYMBOL, "--from", "asw"],
            "unknown site 'asw'; choose from aws, gcp; did you mean",
        ),
        (["status", "azure"], "unknown site 'azure'; choose from aws, gcp$"),
        (["outputs", "gpc"], "unknown site 'gpc'; choose from aws, gcp; did you mean 'gcp'"),
        (["produce", "--source", "simulate", "--to", "aws,gpc"], "unknown site 'gpc'"),
        (["produce", "--source", "simulate", "--to", ","], "',' names no site"),
        (["local", "up"], "are already up"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_name_is_reported_with_the_known_ones(
    mcloud_up: Terminal, produced: dict[str, Any], arguments: list[str], message: str
) -> None:
    done = mcloud_up.run(*arguments)
    assert re.search(message, done.stderr)
    assert done.returncode == (1 if arguments[0] == "local" else 2)
    assert done.stdout == ""


def test_outputs_name_every_resource(mcloud_up: Terminal, embedded: State) -> None:
    document = json.loads(mcloud_up.run("outputs", "-o", "json").stdout)
    assert document == embedded.outputs
    assert {"queue_url", "dlq_url", "candles_table", "raw_bucket", "function"} <= set(
        document["aws"]
    )
    assert {
        *("project", "topic", "subscription", "dlq_subscription", "database"),
        *("candles_collection", "raw_bucket", "function"),
    } <= set(document["gcp"])
    for name, kind in (("aws", AwsResources), ("gcp", GcpResources)):
        # Only Terraform deploys for a freshness, or with a key.
        embedded_fields = {field.name for field in fields(kind)} - {"freshness", "alerts_key"}
        assert set(document[name]) == embedded_fields
        table = mcloud_up.run("outputs", name).stdout
        assert all(value in table for value in document[name].values())
    assert set(json.loads(mcloud_up.run("outputs", "gcp", "-o", "json").stdout)) == {"gcp"}


@pytest.mark.slow
def test_status_shows_running_sites_and_their_figures(
    mcloud_up: Terminal, produced: dict[str, Any]
) -> None:
    def is_up_and_counted() -> bool:
        """Return whether all is up. A busy machine may miss the answer of a service."""
        done = mcloud_up.run("status", "-o", "json")
        assert done.stderr == ""
        told = json.loads(done.stdout)
        sites = told["sites"]
        assert set(sites) == {"aws", "gcp"}
        # Other tests leave dead letters in these queues.
        assert done.returncode == (3 if told["wrong"] else 0)
        counted = [site["heartbeats"].get(SYMBOL, {}).get("trades", 0) for site in sites.values()]
        return told["up"] and min(counted) >= 3_000

    eventually(is_up_and_counted)
    eventually(lambda: "down" not in mcloud_up.run("status", "gcp").stdout)
    assert "services" in mcloud_up.run("status", "gcp", "-v").stdout


def test_local_status_env_and_logs(mcloud_up: Terminal, embedded: State) -> None:
    status = json.loads(mcloud_up.run("local", "status", "-o", "json").stdout)
    assert (status["up"], status["phase"]) == (True, "ready")
    assert all(service["listens"] for service in status["services"].values())
    assert mcloud_up.run("local", "status").returncode == 0
    logs = json.loads(mcloud_up.run("local", "logs", "-n", 3, "-o", "json").stdout)
    assert set(logs) >= {"aws", "gcp", "function", "supervisor"}
    assert all(len(lines) <= 3 for lines in logs.values())
    # The function has a log once it has seen a trade, and another test may send the first one.
    name = next(name for name, lines in logs.items() if lines)
    assert len(mcloud_up.run("local", "logs", name, "-n", 1).stdout.splitlines()) == 1


def test_local_env_can_be_evaluated(mcloud_up: Terminal) -> None:
    variables = json.loads(mcloud_up.run("local", "env", "-o", "json").stdout)
    assert {"AWS_ENDPOINT_URL", "PUBSUB_EMULATOR_HOST", "SQS_QUEUE_URL"} <= set(variables)
    command = " ".join(mcloud_up.command("local", "env"))
    show = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    shell = subprocess.run(
        ["sh", "-c", f'eval "$({command})" && {show}'],
        cwd=mcloud_up.folder,
        env=mcloud_up.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert variables.items() <= json.loads(shell.stdout).items()
    # `gcloud storage` uses the embedded clouds, and nothing of gcloud reaches Google as the user.
    assert variables["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"].startswith("http://127.0.0.1:")
    assert variables["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] == "true"


@pytest.mark.parametrize("arguments", [["outputs"], ["outputs", "-o", "json"], ["local", "env"]])
def test_a_closed_pipe_is_no_error(mcloud_up: Terminal, arguments: list[str]) -> None:
    """The reader ends early, as in ``mcloud outputs | head -1``; here it never reads.

    The command ends silently, like any program that SIGPIPE ends.
    """
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        mcloud_up.command(*arguments),
        cwd=mcloud_up.folder,
        env=mcloud_up.environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_colours_can_be_forced_and_disabled(mcloud_up: Terminal) -> None:
    def shown(*more: str, **environment: str) -> str:
        return mcloud_up.run("local", "status", *more, FORCE_COLOR="1", **environment).stdout

    green = f"{ESCAPE}32m"
    assert green in shown()
    assert green not in shown("--no-color")
    assert green not in shown(NO_COLOR="1")
    assert ESCAPE not in mcloud_up.run("local", "status").stdout
    assert green not in mcloud_up.run("--no-color", "local", "status", FORCE_COLOR="1").stdout


def test_the_readable_part_of_a_damaged_recording_is_used_and_the_damage_reported(
    mcloud_up: Terminal, recording: Path
) -> None:
    import gzip

    lines = recording.read_bytes().splitlines(keepends=True)[:400]
    lines[10:10] = [b"this is no trade\n", b'{"e":"trade","s":"CLIUSDT","p":"NaN"}\n']
    path = mcloud_up.folder / "damaged.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(lines))[:-400])
    done = mcloud_up.run("produce", "--source", f"replay:{path}", "--to", "aws", "-o", "json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert (answer["complete"], answer["bad"], answer["skipped"]) == (False, 2, 0)
    assert answer["truncated"].startswith("the compressed data is cut short after line ")
    assert 0 < answer["sites"]["aws"]["trades"] == answer["read"] < 400
    assert "warning: the compressed data is cut short after line " in done.stderr
    assert "warning: 2 bad lines were skipped, for example:\n  line 11: not JSON\n" in done.stderr
    assert "error: the input is incomplete: 2 lines of replay:" in done.stderr


def test_a_recording_without_the_requested_symbol_fails(
    mcloud_up: Terminal, recording: Path
) -> None:
    asked = ("--source", f"replay:{recording}", "--symbols", "NONEUSDT", "--to", "aws")
    done = mcloud_up.run("produce", *asked, "-o", "json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["complete"] is False
    assert "holds no trade of the requested symbols" in done.stderr


def _read_all(terminal: int) -> Iterator[str]:
    """Yield the output of a program on its terminal until it ends, which Linux reports as error."""
    with open(terminal, encoding="utf-8", newline="", buffering=1) as file:
        try:
            yield from file
        except OSError:
            return


def _line(trade: Trade) -> str:
    fields = {
        "e": "trade",
        "s": trade.symbol,
        "t": trade.id,
        "p": to_text(trade.price),
        "q": to_text(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "M": True,
    }
    return json.dumps(fields) + "\n"


def test_commands_that_leave_silent_sites_out_can_wait_for_them() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "mcloud/cli").glob("*.py")}
    asking = {name for name, text in sources.items() if "readable_sites(" in text}
    # The queue of a site is probed by `dlq`, after it has read with `opened`.
    assert asking == {"dlq.py", "reading.py", "session.py"}
    for name, text in sources.items():
        for call in re.findall(r"\b(?:opened|read_one|read_rest|look)\(session,[^)]*\)", text):
            assert "wait=wait" in call, f"{name}: {call}"
