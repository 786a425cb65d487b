"""``[alerts]`` of mcloud.toml."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcloud.alerts.rules import AlertRule, AlertSettings, Rules, advice, rules
from mcloud.config import load
from mcloud.errors import ConfigError


def read(folder: Path, text: str) -> Rules:
    (folder / "mcloud.toml").write_text(text)
    return rules(load(None, folder, {}))


def by_name(found: Rules) -> dict[str, AlertRule]:
    return {rule.name: rule for rule in found.rules}


def test_without_a_file_the_rules_are_the_built_in_ones(tmp_path: Path) -> None:
    found = rules(load(None, tmp_path, {}))
    assert found == Rules()
    assert len(found.rules) == len(by_name(found)) >= 15
    for rule in found.rules:
        assert (rule.above is None) != (rule.below is None)
        assert rule.clear is None or not rule.is_wrong(rule.clear)
        assert advice(rule, ("a",) * rule.figure.count("*"))
        assert rule.says.format(value="1", limit="x")


def test_a_built_in_rule_can_be_changed(tmp_path: Path) -> None:
    text = """[channels.oncall]
type = "pubsub"
topic = "projects/my-project/topics/alerts"

[alerts]
interval = 5
unknown_for = 60

[alerts.dead-letters]
above = 10
for = 30
severity = "critical"
channels = ["oncall"]

[alerts.silence]
enabled = false
"""
    found = read(tmp_path, text)
    assert found.settings == AlertSettings(5.0, 60.0)
    before, after = by_name(Rules()), by_name(found)
    assert list(after) == list(before)
    assert after.pop("dead-letters") == replace(
        before.pop("dead-letters"),
        above=10,
        last=30,
        severity="critical",
        channels=("oncall",),
        origin="mcloud.toml:9",
    )
    assert after.pop("silence") == replace(
        before.pop("silence"), enabled=False, origin="mcloud.toml:15"
    )
    assert after == before


def test_a_new_limit_replaces_the_old_one(tmp_path: Path) -> None:
    rule = by_name(read(tmp_path, "[alerts.function-errors]\nabove = 0.001\n"))["function-errors"]
    assert (rule.above, rule.below, rule.clear) == (0.001, None, None)
    rule = by_name(read(tmp_path, "[alerts.spool-waiting]\nbelow = 5\n"))["spool-waiting"]
    assert (rule.above, rule.below) == (None, 5)


def test_a_custom_rule_is_read(tmp_path: Path) -> None:
    text = """[alerts.deep-queue]
figure = "sites.*.queue.ready"
above = 5000
clear = 1000
for = 120.5
recover = 10
stale = 60
unknown = "ignore"
text = "The function of {0} does not keep up."
"""
    assert read(tmp_path, text).rules[-1] == AlertRule(
        "deep-queue",
        "sites.*.queue.ready",
        "The function of {0} does not keep up.",
        above=5000,
        clear=1000,
        last=120.5,
        recover=10,
        stale=60,
        unknown="ignore",
        origin="mcloud.toml:1",
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[alerts]\ninterval = 0", 2, "alerts.interval must be 1 or more"),
        ("[alerts]\nintervall = 1", 2, "did you mean 'interval'"),
        ("[alerts.interval]\nabove = 1", 1, "alerts.interval must be a number, not a table"),
        ("[alerts.x]\nabove = 1", 1, r"\[alerts.x\] is a new rule and needs its figure"),
        ("[alerts.dead-leters]\nabove = 1", 1, "did you mean 'dead-letters'"),
        ('[alerts.x]\nfigure = "a.b"', 1, "needs a limit: above or below"),
        ('[alerts.x]\nfigure = "a..b"\nabove = 1', 2, "is not a path"),
        ("[alerts.holes]\nabove = 1\nbelow = 1", 2, "no value lies between"),
        ("[alerts.holes]\nabove = 3\nbelow = 1\nclear = 2", 4, "not with both"),
        ("[alerts.holes]\nabove = 3\nclear = 4", 3, "on the good side of the limit, not 4"),
        ("[alerts.holes]\nfor = -1", 2, "alerts.holes.for must be 0 or more"),
        ('[alerts.holes]\nfor = "1m"', 2, "alerts.holes.for must be a number"),
        ("[alerts.holes]\nlast = 1", 2, "unknown key 'last'"),
        ('[alerts.holes]\nseverity = "bad"', 2, "one of info, warning, critical"),
        ('[alerts.holes]\nchannels = ["x"]', 2, "no channel 'x'"),
        ('[alerts.holes]\ntext = "{1}"', 2, r"only \{0\} and so on"),
        ('[alerts.holes]\ntext = "{site}"', 2, r"only \{0\} and so on"),
        ('[alerts.holes]\ntext = "{"', 2, r"only \{0\} and so on"),
        ('[alerts."a b"]\nabove = 1', 1, "invalid name"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"mcloud.toml:{line}: .*{words}"):
        read(tmp_path, text)


def test_a_rule_starts_at_its_limit_and_ends_at_its_clear_value() -> None:
    rule = AlertRule("x", "a", "", above=10, clear=5)
    assert [rule.is_wrong(value) for value in (4, 5, 7, 10, 11)] == [False] * 4 + [True]
    assert [rule.is_over(value) for value in (4, 5, 7, 10, 11)] == [True] * 2 + [False] * 3
    rule = AlertRule("x", "a", "", below=5, clear=10)
    assert [rule.is_wrong(value) for value in (4, 5, 7, 10)] == [True] + [False] * 3
    assert [rule.is_over(value) for value in (4, 5, 7, 10)] == [False] * 3 + [True]
    rule = AlertRule("x", "a", "", above=10, below=5, last=60)
    assert [rule.is_wrong(value) for value in (4, 5, 10, 11)] == [True, False, False, True]
    assert rule.limit == "above 10 or below 5 for 60 s"
