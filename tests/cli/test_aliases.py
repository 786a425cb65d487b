"""Other spellings of commands and options."""

import pytest

from mcloud.cli.aliases import ALIASES, SITE_IS_AN_ARGUMENT, Alias, respelled

from .conftest import Terminal
from .test_help import ALL, ROOT


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("help", "--help"),
        ("help status", "status --help"),
        ("help guard run", "guard run --help"),
        ("local start --keep", "local up --keep"),
        ("-q --profile local local stop", "-q --profile local local down"),
        ("config list --json", "config show -o json"),
        ("status aws --watch", "monitor aws"),
        ("status --site=aws --json -q", "status aws -o json -q"),
        ("logs guard --tail 5 -f", "logs guard --lines 5 -f"),
        ("local logs --tail=5", "local logs --lines=5"),
        ("candles BTCUSDT --from gcp", "candles BTCUSDT --site gcp"),
        ("candles --from=gcp -- BTCUSDT", "candles --site=gcp -- BTCUSDT"),
        ("anomalies scan X --from aws", "anomalies scan X --site aws"),
        ("alerts silence X --from 2026-01-01", "alerts silence X --from 2026-01-01"),
        ("restore gcp --from aws", "restore gcp --from aws"),
        ("guard pause --why -- --json", "guard pause --why -- --json"),
        ("--json status", "--json status"),
        ("--profile local", "--profile local"),
        ("--profile", "--profile"),
        ("", ""),
    ],
)
def test_a_command_line_gets_the_spellings_of_the_help(typed: str, meant: str) -> None:
    assert respelled(typed.split()) == meant.split()
    assert respelled(meant.split()) == meant.split()


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: alias.typed)
def test_an_alias_means_an_option_or_a_command_that_exists(alias: Alias) -> None:
    command = ROOT
    typed = alias.typed if alias.command else f"status {alias.typed}"
    words = [word for word in respelled(typed.split()) if word != "json"]
    while words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    known = {name for each in command.params for name in each.opts} | {"--help"}
    assert set(words) <= known
    assert alias.option not in known


def test_a_site_is_an_argument_or_an_option() -> None:
    for path, command in ALL.items():
        arguments = {each.name for each in command.params if each.param_type_name == "argument"}
        options = {name for each in command.params for name in each.opts}
        if not hasattr(command, "commands"):
            has_argument = bool({"site", "sites"} & arguments) and path != ("dlq", "show")
            assert has_argument == (" ".join(path) in SITE_IS_AN_ARGUMENT), path
            assert not (has_argument and "--site" in options), path


def test_the_help_has_no_alias(mcloud: Terminal) -> None:
    printed = mcloud.run("help").stdout
    assert printed == mcloud.run("--help").stdout
    assert "--json" not in mcloud.run("help", "status").stdout
    assert mcloud.run("help", "nothing").stderr == mcloud.run("nothing").stderr


@pytest.mark.parametrize(
    ("typed", "advised"),
    [
        ("up", "Did you mean `mcloud local up`?"),
        ("pause", "Did you mean `mcloud guard pause`?"),
        ("list", "Did you mean `mcloud alerts list` or `mcloud dlq list` or"),
        ("stats", "Did you mean `mcloud status`?"),
        ("alert", "Did you mean `mcloud alerts`?"),
        ("falover", "Did you mean `mcloud failover`?"),
        ("xyzzy", "No such command 'xyzzy'."),
    ],
)
def test_an_unknown_command_is_answered_with_one_that_exists(
    mcloud: Terminal, typed: str, advised: str
) -> None:
    done = mcloud.run(typed)
    assert done.returncode == 2
    assert advised in " ".join(done.stderr.split())


def test_each_question_has_both_options_that_answer_it() -> None:
    asking = [each for each in ALL.values() if any(p.name == "yes" for p in each.params)]
    assert len(asking) >= 9
    for command in asking:
        (yes,) = (each for each in command.params if each.name == "yes")
        assert set(yes.opts) == {"--yes", "-y"}
