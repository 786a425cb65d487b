"""Usage errors give one line on stderr, the right exit code and no traceback.

No test needs clouds; the embedded clouds are down.
"""

import gzip
import json
import sys
from pathlib import Path

import pytest

from .conftest import Terminal

RECORDED = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"1.5","q":"2",'
    '"T":1723161255342,"m":true,"M":true}}\n'
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean `mcloud status`?"),
        (["local", "upp"], "No such command 'upp'. Did you mean `mcloud local up`?"),
        (["status", "--speed", "1"], "No such option: --speed"),
        (
            ["status", "-o", "jsno"],
            "unknown output format 'jsno'; choose from text, json; did you mean",
        ),
        (["status", "-o", "csv"], "unknown output format 'csv'; choose from text, json"),
        (["candles", "BTC/USDT"], "not a symbol: 'BTC/USDT'; use one such as BTCUSDT"),
        (
            ["candles", "X", "--interval", "2m"],
            "unknown interval '2m'; choose from 1m, 5m, 15m, 1h, 1d",
        ),
        (["candles", "X", "--last", "2 hours"], "invalid duration '2 hours' for --last; use one"),
        (["candles", "X", "--last", "0m"], "invalid duration '0m' for --last"),
        (
            ["candles", "X", "--start", "yesterday"],
            "invalid time 'yesterday' for --start; use one such",
        ),
        (["candles", "X", "--end", "2024-13-01"], "invalid time '2024-13-01' for --end"),
        (
            ["candles", "X", "--start", "2024-08-08", "--last", "2h"],
            "--last and --start cannot be combined",
        ),
        (
            ["candles", "X", "--start", "2024-08-09", "--end", "2024-08-08"],
            "--end must be after --start",
        ),
        (["candles", "X", "--from", "aws,gcp"], "--site takes a single site"),
        (["candles", "X", "--with", "sm:20"], "volatility, returns; did you mean 'sma'?"),
        (["candles", "X", "--with", "sma"], "--with: sma needs a length, such as sma:20"),
        (["candles", "X", "--with", "ema:0"], "a whole number from 1 to 1000, not '0'"),
        (
            ["anomalies", "--kind", "drfit"],
            "unknown kind 'drfit'; choose from price-jump, volume-spike, d",
        ),
        (["anomalies", "--last", "x"], "invalid duration 'x' for --last"),
        (["anomalies", "--kind", "drift", "scan", "X"], "--kind must follow `anomalies scan`"),
        (["anomalies", "scan", "X", "--window", "3"], "--window is a whole number from 10 to 720"),
        (["anomalies", "scan", "X", "--jump-least", "7"], "--jump-least is a number from 0.0001 t"),
        (
            ["produce", "--source", "binanse"],
            "unknown source 'binanse'; choose from binance, binance-us, binance-data",
        ),
        (["produce", "--source", "replay:"], "unknown source 'replay:'"),
        (
            ["produce", "--mode", "al"],
            "unknown mode 'al'; choose from both, primary, cheapest, nearest",
        ),
        (["produce", "--name", "a b"], "invalid name 'a b'; use letters, digits, - and _"),
        (
            ["produce", "--shard", "5/4"],
            "invalid shard '5/4'; use one such as 2/4, the second of four",
        ),
        (["produce", "--shard", "0/4"], "invalid shard '0/4'"),
        (["produce", "--shard", "two"], "invalid shard 'two'"),
        (["produce", "--shard", "²/4"], "invalid shard '²/4'"),
        (
            ["produce", "--source", "simulate", "--shard", "1/2"],
            "--shard is for exchanges only",
        ),
        (
            ["produce", "--exchange", "binanse"],
            "unknown exchange 'binanse'; choose from binance, binance",
        ),
        (["produce", "--ws-url", "http://x"], "invalid --ws-url 'http://x'"),
        (["produce", "--rest-url", "x"], "invalid --rest-url 'x'"),
        (["produce", "--spool-limit", "0"], "it must be 1 or more, not '0'"),
        (["produce", "--freshness", "-1"], "it must be 0 or more, not '-1'"),
        (["trace", "abc"], "Invalid value for 'trade_id': it must be a whole number, not 'abc'"),
        (["verify", "--what", "both"], "unknown kind of data 'both'; choose from candles, raw, or"),
        (["replicate", "--what", "both"], "or use candles,raw for both"),
        (["verify", "--deep", "--what", "raw"], "--deep compares candles with raw trades, so it"),
        (["stop", "a/b"], "invalid name 'a/b'"),
        (["stop", "--wait", "-1"], "it must be 0 or more, not '-1'"),
        (["ps", ".."], "invalid name '..'"),
        (["logs", "-o", "csv"], "unknown output format 'csv'; choose from text, json"),
        (["local", "exchange"], "Missing option '--source'"),
        (
            ["local", "exchange", "--source", "binance"],
            "unknown source 'binance'; choose f",
        ),
        (["local", "exchange", "--source", "simulate", "--speed", "x"], "invalid speed 'x'"),
        (["demo", "--source", "simulated"], "unknown source 'simulated'; choose from simulate"),
        (["produce", "--source", "simulate", "--speed", "fast"], "invalid speed 'fast'"),
        (["produce", "--source", "simulate", "--count", "0"], "it must be 1 or more, not '0'"),
        (["produce", "--source", "simulate", "--rate", "0"], "the rate must be above 0"),
        (["produce", "--source", "simulate", "--symbols", "BTC-USDT"], "not a symbol: 'BTC-USDT'"),
        (["produce", "--source", "replay:no/such.jsonl"], "there is no file no/such.jsonl"),
        (["local", "up", "--emulators", "offical"], "did you mean 'official'?"),
        (
            ["local", "up", "--ports", "random"],
            "unknown choice of ports 'random'; choose from fixed, auto",
        ),
        (["local", "up", "--aws-port", "70000"], "it must be 65535 or less, not '70000'"),
        (["local", "logs", "asw"], "did you mean 'aws'?"),
        (["local", "logs", "-f", "-o", "json"], "--follow cannot be combined with -o json"),
        (["status", "--profile", "prod"], "unknown profile 'prod'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_line_is_named_and_exits_2(
    mcloud: Terminal, arguments: list[str], message: str
) -> None:
    done = mcloud.run(*arguments)
    assert message in " ".join(done.stderr.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(mcloud.folder.iterdir()) == []  # and it has left nothing behind


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["outputs"],
        ["candles", "BTCUSDT"],
        ["produce", "--source", "simulate", "--count", "1"],
        ["produce", "--source", "simulate", "--mode", "primary"],
        ["local", "env"],
    ],
    ids=" ".join,
)
def test_without_embedded_clouds_commands_exit_with_1_and_name_the_remedy(
    mcloud: Terminal, arguments: list[str]
) -> None:
    done = mcloud.run(*arguments)
    assert done.stderr == "error: the embedded clouds are down; run `mcloud local up`\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_local_commands_without_clouds(mcloud: Terminal) -> None:
    done = mcloud.run("local", "status", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["up"]) == (3, False)
    assert done.stderr == "the embedded clouds are down; run `mcloud local up`\n"
    done = mcloud.run("local", "down", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["was_up"]) == (0, False)
    done = mcloud.run("local", "logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there are no logs yet; run `mcloud local up`\n"
    done = mcloud.run("local", "reset", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"up": False})


@pytest.mark.parametrize("before", [(), ("-q",)])
def test_quiet_prints_only_errors(mcloud: Terminal, before: tuple[str, ...]) -> None:
    for arguments in ((*before, "local", "down"), ("local", "down", "-q")):
        done = mcloud.run(*arguments)
        quiet = "-q" in arguments
        assert done.stderr == ("" if quiet else "the embedded clouds were not up\n")
    assert mcloud.run(*before, "outputs").stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments", [("-vv", "outputs"), ("outputs", "-vv"), ("-v", "outputs", "-v", "-v")]
)
def test_vv_shows_the_traceback(mcloud: Terminal, arguments: tuple[str, ...]) -> None:
    done = mcloud.run(*arguments)
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    # The message and the exit code are the same as without it.
    assert done.stderr.endswith("error: the embedded clouds are down; run `mcloud local up`\n")
    assert done.returncode == 1
    assert mcloud.run("-vv", "candles", "X", "--last", "x").returncode == 2
    assert "Traceback" not in mcloud.run("-v", "outputs").stderr


FAULTY = """
from mcloud.local.state import Home

Home.is_up = lambda self: 1 / 0
from mcloud.__main__ import main

main()
"""


def test_an_unexpected_exception_is_reported_as_a_bug(mcloud: Terminal) -> None:
    mcloud.program = [sys.executable, "-c", FAULTY]
    done = mcloud.run("outputs")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ZeroDivisionError: ")
    assert done.stderr.endswith("run it again with -vv and report the output\n")
    assert "Traceback" in mcloud.run("outputs", "-vv").stderr


def test_the_profile_option_may_come_before_or_after_the_command(mcloud: Terminal) -> None:
    (mcloud.folder / "mcloud.toml").write_text(
        "".join(f'[profiles.{name}.sites.{name}]\ncloud = "aws"\n' for name in ("one", "two"))
    )
    for arguments, profile in (
        (("--profile", "one", "status"), "one"),
        (("status", "--profile", "one"), "one"),
        (("--profile", "two", "status", "--profile", "one"), "one"),
    ):
        done = mcloud.run(*arguments, MCLOUD_PROFILE="two")
        assert f"site '{profile}' of profile '{profile}'" in done.stderr
        assert done.returncode == 2
    assert "profile 'two'" in mcloud.run("status", MCLOUD_PROFILE="two").stderr


def test_a_wrong_file_is_named_with_its_line(mcloud: Terminal) -> None:
    (mcloud.folder / "mcloud.toml").write_text("\n[local]\naws_prot = 1\n")
    done = mcloud.run("local", "up")
    path = mcloud.folder / "mcloud.toml"
    assert done.stderr == (
        f"error: {path}:3: unknown key 'aws_prot' in [local]; did you mean 'aws_port'?\n"
    )
    assert done.returncode == 2


def replay_files(folder: Path) -> dict[str, tuple[Path, str]]:
    contents: dict[str, tuple[bytes, str]] = {
        "empty.jsonl": (b"", "is empty"),
        "empty.gz": (gzip.compress(b""), "is empty"),
        "truncated.gz": (gzip.compress(RECORDED.encode())[:20], "cut short after line 0"),
        "prose.txt": (b"Dear Sir or Madam,\n", "no trades in a known format"),
        "image.png": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no trades in a known format"),
        "folder": (b"", "there is no file to replay in"),
        "binary.zip": (b"PK\x03\x04" + bytes(40), "is not a readable zip file"),
        "unnamed.csv": (b"1,2.0,3.0,6.0,1723161255342,True,True\n", "which symbol it holds"),
    }
    made = {}
    for name, (content, message) in contents.items():
        path = folder / name
        if name == "folder":
            path.mkdir()
        else:
            path.write_bytes(content)
        made[name] = (path, message)
    return made


def test_a_replay_file_that_cannot_be_used_is_named_with_the_reason(mcloud: Terminal) -> None:
    for path, message in replay_files(mcloud.folder).values():
        done = mcloud.run("produce", "--source", f"replay:{path}")
        assert str(path) in done.stderr
        assert message in done.stderr
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_the_demo_checks_its_file_before_it_starts_anything(mcloud: Terminal) -> None:
    path, message = replay_files(mcloud.folder)["empty.gz"]
    done = mcloud.run("demo", "--source", f"replay:{path}")
    assert message in done.stderr
    assert done.returncode == 2
    assert not [each for each in mcloud.folder.iterdir() if each.name.startswith("mcloud-demo")]
