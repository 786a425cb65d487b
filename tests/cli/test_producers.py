"""``produce --detach``, ``ps``, ``stop`` and ``logs``, and what a producer is not started with."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, eventually
from states import stored

from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State
from mcloud.runs import Run, all_runs

from .conftest import Terminal

PATIENTLY = ("--wait", PATIENCE)
START = 1_735_775_880_000
ENDLESS = ("--source", "simulate", "--speed", "realtime", "--rate", 100)


@pytest.fixture
def terminal(tmp_path: Path, embedded: State) -> Iterator[Terminal]:
    """A command line with producers of its own, on the clouds of the whole test run."""
    made = Terminal(tmp_path, tmp_path / "state")
    sites = "".join(
        f"[profiles.test.sites.{name}]\n"
        + "".join(f'{key} = "{value}"\n' for key, value in {"cloud": name, **outputs}.items())
        for name, outputs in sorted(embedded.outputs.items())
    )
    (tmp_path / "mcloud.toml").write_text(f'profile = "test"\n{sites}')
    yield made
    for run in all_runs(tmp_path / "state" / "producers"):
        holder = run.lock.holder()
        if holder is not None:
            holder.kill()


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    symbols = ["PSBTCUSDT", "PSETHUSDT", "PSSOLUSDT", "PSADAUSDT"]
    market = Simulate(symbols, seed=4, start_time=START, rate=50)
    with LocalExchange(market, speed=1.0, symbols=symbols, wait_for=0) as served:
        yield served


@pytest.mark.slow
def test_a_detached_producer_from_start_to_end(terminal: Terminal) -> None:
    started = terminal.run("produce", *ENDLESS, "--symbols", "PSUSDT", "--detach", "-o", "json")
    assert started.returncode == 0, started.stderr
    answer = json.loads(started.stdout)
    assert answer["name"] == "default"
    assert started.stderr == (
        f"default is running (pid {answer['pid']}); see `mcloud ps` and `mcloud logs default -f`\n"
    )
    eventually(lambda: listed(terminal)[0]["read"] > 100)
    (state,) = listed(terminal)
    assert (state["name"], state["running"], state["pid"]) == ("default", True, answer["pid"])
    assert (state["source"], state["symbols"], state["mode"]) == ("simulate", ["PSUSDT"], "both")
    assert set(state["sites"]) == {"aws", "gcp"}
    eventually(lambda: terminal.run("ps", "default", "--check").returncode == 0)
    heading, line = terminal.run("ps").stdout.splitlines()
    assert heading.split()[0] == "producer"
    assert line.split()[:4] == ["default", "running", str(answer["pid"]), "simulate"]

    second = terminal.run("produce", *ENDLESS, "--symbols", "PSUSDT")
    assert second.returncode == 1
    assert second.stderr == (
        f"error: a producer called 'default' is already running (pid {answer['pid']}); "
        "stop it with `mcloud stop default`, or use another --name\n"
    )
    assert terminal.run("produce", *ENDLESS, "--detach").stderr == second.stderr

    stopped = terminal.run("stop", *PATIENTLY, "-o", "json")
    assert (stopped.returncode, json.loads(stopped.stdout)) == (
        0,
        {"default": {"aws": 0, "gcp": 0}},
    )
    assert stopped.stderr == "default has ended; nothing is left\n"
    (state,) = listed(terminal)
    assert state["running"] is False
    assert [site["trades"] for site in state["sites"].values()] == [state["read"]] * 2
    assert terminal.run("ps", "--check").returncode == 3
    assert re.search("ended [0-9a-z. ]+ ago", terminal.run("ps").stdout)

    log = terminal.run("logs", "default").stdout.splitlines()
    assert " INFO    starts: " in log[0]
    assert log[1].endswith(" INFO    sends to aws, gcp: every site")
    assert log[-1].endswith(" INFO    ends; waiting: aws 0, gcp 0")
    assert terminal.run("logs", "default", "-n", 1).stdout.splitlines() == log[-1:]
    found = json.loads(terminal.run("logs", "default", "--grep", "ends;", "-o", "json").stdout)
    assert [each["text"] for each in found] == ["ends; waiting: aws 0, gcp 0"]
    # Without a name, the lines of the functions are among them.
    merged = json.loads(terminal.run("logs", "--since", "1h", "-o", "json").stdout)
    assert {"default", "aws processor", "gcp function"} <= {each["source"] for each in merged}
    assert merged == sorted(merged, key=lambda each: each["at"])


@pytest.mark.slow
def test_two_producers_share_only_the_sites(terminal: Terminal) -> None:
    for name in ("one", "two"):
        arguments = (*ENDLESS, "--symbols", f"PS{name}USDT".upper(), "--name", name)
        assert terminal.run("produce", *arguments, "--detach").returncode == 0
    assert [state["running"] for state in listed(terminal)] == [True, True]
    done = terminal.run("stop", "one", *PATIENTLY)
    assert done.stderr == "one has ended; nothing is left\n"
    assert [state["running"] for state in listed(terminal)] == [False, True]
    # At once, whatever it is doing; and a name that is used again is free.
    assert terminal.run("stop", "--now").stderr.startswith("two has ended; ")
    assert [state["running"] for state in listed(terminal)] == [False, False]
    again = terminal.run(
        "produce", "--source", "simulate", "--symbols", "PSTWOUSDT", "--count", 10,
        "--name", "two", "-o", "json",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["read"] == 10


@pytest.mark.slow
def test_the_next_run_delivers_what_a_killed_run_left(terminal: Terminal) -> None:
    """The first of them cannot reach its site: everything stays in its spool."""
    text = (terminal.folder / "mcloud.toml").read_text()
    away = re.sub('endpoint_url = "[^"]*"', 'endpoint_url = "http://127.0.0.1:9"', text)
    (terminal.folder / "mcloud.toml").write_text(away)
    arguments = ("--source", "simulate", "--symbols", "PSLEFTUSDT", "--to", "aws", "-o", "json")
    process = terminal.start("produce", *arguments, "--count", 500)
    run = Run(terminal.folder / "state" / "producers" / "default")
    eventually(lambda: stored(run).get("sites", {}).get("aws", {}).get("waiting_trades") == 500)
    done = terminal.run("stop", "--now")
    assert done.stderr == "default has ended; left in its spool: 500 trades for aws\n"
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -9
    (terminal.folder / "mcloud.toml").write_text(text)
    done = terminal.run("produce", *arguments, "--count", 1)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["read"], answer["sites"]["aws"]["trades"]) == (1, 501)
    assert "500 trades of an earlier run go first" in terminal.run("logs", "default").stdout


@pytest.mark.slow
def test_shards_cover_all_symbols(terminal: Terminal, exchange: LocalExchange) -> None:
    """From a local exchange, named in the configuration."""
    with (terminal.folder / "mcloud.toml").open("a") as file:
        file.write(f'[exchange]\nws_url = "{exchange.ws_url}"\nrest_url = "{exchange.rest_url}"\n')
    found: list[str] = []
    for number in (1, 2):
        done = terminal.run(
            "produce", "--symbols", "all:USDT", "--shard", f"{number}/2", "--name", f"n{number}",
            "--detach",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for state in listed(terminal):
        assert (state["source"], state["live"]) == ("binance", True)
        found += state["symbols"]
    assert sorted(found) == ["PSADAUSDT", "PSBTCUSDT", "PSETHUSDT", "PSSOLUSDT"]
    eventually(lambda: all(state["read"] for state in listed(terminal)))
    states = listed(terminal)
    assert all(state["source_state"]["summary"] == "1 of 1 connections" for state in states)
    assert terminal.run("stop", *PATIENTLY).returncode == 0


@pytest.mark.slow
def test_a_recording_that_has_ended_leaves_its_symbols(terminal: Terminal) -> None:
    lines = [
        {"e": "trade", "s": symbol, "t": n, "p": "1.5", "q": "2", "T": START + n, "m": True}
        for n, symbol in enumerate(("PSONEUSDT", "PSTWOUSDT"), start=1)
    ]
    recording = terminal.folder / "some.jsonl"
    recording.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    done = terminal.run("produce", "--source", f"replay:{recording}", "--market", "spot")
    assert done.returncode == 0, done.stderr
    # Without them, the alert `silence` would fire ten minutes later.
    assert listed(terminal)[0]["symbols"] == ["PSONEUSDT", "PSTWOUSDT"]


@pytest.mark.slow
def test_symbols_from_a_file_in_any_writing(terminal: Terminal, exchange: LocalExchange) -> None:
    (terminal.folder / "symbols.txt").write_text("psbtcusdt, PSETHUSDT\npsadausdt\n")
    urls = ("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url)
    done = terminal.run("produce", "--symbols", "symbols.txt", *urls, "--detach")
    assert done.returncode == 0, done.stderr
    assert listed(terminal)[0]["symbols"] == ["PSBTCUSDT", "PSETHUSDT", "PSADAUSDT"]
    assert terminal.run("stop", *PATIENTLY).returncode == 0
    done = terminal.run("produce", "--symbols", "PSXUSDT", *urls)
    assert (done.returncode, done.stdout) == (2, "")
    assert "binance has no symbol PSXUSDT" in done.stderr
    # Longer than any file's name may be.
    done = terminal.run("produce", "--symbols", ",".join(f"PS{n}USDT" for n in range(60)), *urls)
    assert done.returncode == 2
    assert "binance has no symbol PS0USDT" in done.stderr


@pytest.mark.slow
def test_an_exchange_key_is_never_written(terminal: Terminal, exchange: LocalExchange) -> None:
    secret = {"MCLOUD_BINANCE_API_KEY": "k3yOfMine"}
    ws = ("--ws-url", exchange.ws_url)
    done = terminal.run("produce", *ws, "--rest-url", "http://example.com", **secret)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: MCLOUD_BINANCE_API_KEY would be sent to http://example.com unencrypted; "
        "use https://, or unset it\n"
    )
    # The symbol is the one of the bash version's variable, here and where candles are read.
    assert "PSNONEUSDT" in terminal.run("candles", TRADING_SYMBOL="PSNONEUSDT").stderr
    here = (*ws, "--rest-url", exchange.rest_url, "--detach", "-vv")
    done = terminal.run("produce", *here, TRADING_SYMBOL="PSETHUSDT", **secret)
    assert done.returncode == 0, done.stderr
    assert listed(terminal)[0]["symbols"] == ["PSETHUSDT"]
    eventually(lambda: listed(terminal)[0]["read"] > 0)
    said = [done.stdout, done.stderr, terminal.run("stop").stderr]
    files = [path for path in terminal.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    said += [path.read_text(errors="replace") for path in files]
    assert not any("k3yOfMine" in text for text in said)


def test_a_detached_producer_that_cannot_start_reports_the_reason(terminal: Terminal) -> None:
    closed = ("--rest-url", "http://127.0.0.1:9")
    done = terminal.run("produce", *closed, "--detach")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the producer ended at once: http://127.0.0.1:9 ")


@pytest.mark.slow
def test_a_running_producer_follows_a_new_control_record(
    terminal: Terminal, embedded: State
) -> None:
    from mcloud.clouds.factory import open_site
    from mcloud.clouds.ports import ControlRecord

    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    records = [site.control.record() for site in sites.values()]
    epoch = max((each.epoch for each in records if each), default=0)

    def lead(primary: str) -> None:
        nonlocal epoch
        epoch += 1
        told = ControlRecord(epoch, primary, "manual", "drill", "a test", time.time())
        assert sites["gcp"].control.write_record(told)

    lead("aws")
    arguments = (*ENDLESS, "--symbols", "PSMOVEUSDT", "--mode", "primary", "--freshness", 0)
    assert terminal.run("produce", *arguments, "--detach").returncode == 0
    eventually(lambda: listed(terminal)[0]["sites"]["aws"]["trades"] > 50)
    assert listed(terminal)[0]["sites"]["gcp"]["trades"] == 0
    lead("gcp")
    eventually(lambda: listed(terminal)[0]["sites"]["gcp"]["trades"] > 50)
    route = listed(terminal)[0]["route"]
    assert route["sites"] == ["gcp"]
    assert route["reason"].startswith(f"primary of epoch {epoch} since ")
    assert route["reason"].endswith(" UTC; reason then: drill")
    assert terminal.run("stop", *PATIENTLY).returncode == 0
    (state,) = listed(terminal)
    delivered = [site["trades"] for site in state["sites"].values()]
    assert sum(delivered) >= state["read"]
    assert f"sends to gcp: primary of epoch {epoch} since " in terminal.run("logs").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ps",), 0, "no processes; `mcloud produce` starts a producer\n"),
        (("ps", "--check"), 3, "no processes; `mcloud produce` starts a producer\n"),
        (("stop",), 0, "no process is running here\n"),
        (("stop", "mars"), 1, "error: no process called 'mars' is running here; see `mcloud ps`\n"),
        (
            *(("logs", "mars"), 2),
            "error: unknown site or process 'mars'; choose from aws, gcp\n",
        ),
        (("logs", "../x"), 2, "error: invalid name '../x'; use letters, digits, - and _\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_commands_on_producers_report_that_there_are_none(
    mcloud: Terminal, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = mcloud.run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", words)


def test_without_producers_the_list_is_empty(mcloud: Terminal) -> None:
    assert mcloud.run("ps", "-o", "json").stdout == "[]\n"


def listed(terminal: Terminal) -> list[dict[str, Any]]:
    done = terminal.run("ps", "-o", "json")
    assert done.stderr == ""
    states: list[dict[str, Any]] = json.loads(done.stdout)
    return states


@pytest.mark.parametrize(
    ("freshness", "words"),
    [
        (
            "5",
            "warning: aws is deployed for candles up to 60 s old, not 5 s: set `freshness` in"
            " [produce] of mcloud.toml, and run `mcloud deploy aws`\n",
        ),
        ("60", ""),
    ],
)
def test_a_producer_that_is_fresher_than_its_site_says_so(
    mcloud: Terminal, embedded: State, freshness: str, words: str
) -> None:
    to = {"cloud": "aws", **embedded.outputs["aws"], "freshness": "60"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in to.items()]
    text = "\n".join(['profile = "prod"', "[profiles.prod.sites.aws]", *lines])
    (mcloud.folder / "mcloud.toml").write_text(text)
    source = ("--source", "simulate", "--symbols", "FRESHUSDT", "--count", "10")
    done = mcloud.run(
        *("produce", *source, "--freshness", freshness),
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines(keepends=True) if "deployed for" in line] == [
        *([words] if words else [])
    ]
