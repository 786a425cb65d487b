"""Drawing alerts."""

from dataclasses import replace
from typing import Any

from rich.console import Console, RenderableType
from states import WATCHER, watcher

from mcloud.alerts.report import AlertReport, FigureReport, RuleReport
from mcloud.drawing.alerts import answers, everything, silences, summary, watchers
from mcloud.notify.check import ChannelAnswer
from mcloud.notify.silences import ListedSilence
from mcloud.runs import Running

SILENCE = ListedSilence(
    *("rule", "a", "aws", "an [upgrade]", "somebody", 0.0, 0.0, 86_400.0),
    id="a1b2c3",
    state="active",
)


def text(renderable: RenderableType) -> list[list[str]]:
    console = Console(width=200, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in capture.get().splitlines()
    ]


def lines(renderable: RenderableType) -> list[str]:
    """Return the lines on a narrow terminal, with single spaces."""
    console = Console(width=80, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def listed(*rules: RuleReport, silences: Any = ()) -> AlertReport:
    return AlertReport(False, 0.0, 0, 0, tuple(silences), rules)


def figure(**said: Any) -> FigureReport:
    value = said.get("value", 1.0)
    plain = {
        "path": "",
        "names": ("aws",),
        "state": "ok",
        "value": 1.0,
        "text": "unknown" if value is None else f"{value:g}",
        "age_s": 61.0,
        "since": None,
        "for_s": None,
        "why": "",
        "unknown": "",
        "silenced": None,
        "advice": "",
    }
    return FigureReport(**{**plain, **said})


def rule(name: str, *figures: FigureReport, **said: Any) -> RuleReport:
    plain = {
        "name": name,
        "figure": "",
        "unit": "",
        "severity": "warning",
        "channels": None,
        "enabled": True,
        "figures": figures,
        "limit": "above 0",
        "origin": "built in",
        "why": "",
    }
    return RuleReport(**{**plain, **said})


def test_every_rule_is_drawn_with_its_figures() -> None:
    head, *rows = lines(
        everything(
            listed(
                rule(
                    "a",
                    figure(),
                    figure(state="firing", value=2.5, for_s=130.0, why="no answer"),
                    figure(state="firing", unknown="[away]"),
                    figure(state="unknown", value=None, age_s=None, unknown="[away]"),
                    origin="mcloud.toml:7",
                ),
                rule("b", why="unknown: there is no figure x"),
                rule("c", enabled=False, limit="above 50,000 trades for 120 s"),
                rule("d", why="nothing matches y"),
            )
        )
    )
    assert head == "rule of state value limit since"
    assert rows == [
        "a aws ok 1 (1 min ago) above 0",
        "a aws firing 2.5 (1 min ago) above 0 2 min",
        "a aws firing 1 (1 min ago) above 0",
        "a aws unknown above 0",
        "b unknown above 0",
        "c off above 50,000 trades",
        "for 120 s",
        "d none above 0",
        "",
        "a: set in mcloud.toml:7",
        "a aws: no answer",
        "a aws, a aws: unknown, [away]",
        "b: unknown, there is no figure x",
    ]


def test_what_fires_comes_first_with_its_remedy_and_the_rest_is_counted() -> None:
    quiet = figure(state="firing", silenced=SILENCE.in_short())
    unknown = figure(state="unknown", value=None, age_s=None, unknown="[away]", names=("gcp",))
    fires = figure(
        state="firing", value=2.5, for_s=130.0, why="[no] answer", advice="Run `mcloud`."
    )
    found = listed(
        rule("a", figure(), quiet, unknown),
        rule("b", unknown, figure(state="pending", for_s=10.0), limit="above 0 for 60 s"),
        rule("c", fires, figure(names=("gcp",))),
        rule("d", enabled=False),
        rule("e", why="nothing matches y"),
        rule("f", why="unknown: there is no figure x"),
        silences=[SILENCE],
    )
    assert lines(summary(found, lambda text: text.replace("mcloud", "mcloud --profile p"))) == [
        "FAULT 1 alert firing · 1 silenced · 1 pending · 3 unknown · 2 in order",
        "c aws: 2.5 (1 min ago) for 2 min (limit: above 0)",
        "[no] answer",
        "→ Run `mcloud --profile p`.",
        "b aws pending: 1 (1 min ago) for 10 s (limit: above 0 for 60 s)",
        "a aws silenced: 1 (1 min ago) (limit: above 0)",
        "a gcp, b gcp: unknown, [away]",
        "f: unknown, there is no figure x",
        "silence a1b2c3: rule a of aws, until 1970-01-02 00:00 UTC, by somebody:",
        "an [upgrade]",
        "1 rule without a figure here, 1 rule disabled",
    ]


def test_without_alerts_the_verdict_says_so() -> None:
    fine = rule("a", figure(), figure(names=("gcp",)))
    assert lines(summary(listed(fine))) == ["OK no alert fires · 2 in order"]
    leaning = rule("b", figure(state="pending"))
    assert lines(summary(listed(fine, leaning)))[0] == (
        "WARN no alert fires · 1 pending · 2 in order"
    )
    blind = rule("c", figure(state="unknown", value=None, unknown="no answer"))
    assert lines(summary(listed(blind)))[0] == "WARN no alert fires · 1 unknown"


def test_a_silenced_alert_is_shown_with_its_silence() -> None:
    silence = SILENCE
    said = silence.in_short()
    covered = figure(state="firing", silenced=said)
    drawn = everything(listed(rule("a", covered, figure(silenced=said)), silences=[silence]))
    _, *rows = lines(drawn)
    assert rows == [
        "a aws silenced 1 (1 min ago) above 0",
        "a aws ok 1 (1 min ago) above 0",
        "",
        "silence a1b2c3: rule a of aws, until 1970-01-02 00:00 UTC, by somebody: an",
        "[upgrade]",
    ]
    head, row = text(silences([silence]))
    assert head == ["id", "state", "silences", "from", "until", "by", "why"]
    until = "1970-01-02 00:00 UTC"
    start = "1970-01-01 00:00 UTC"
    assert row == ["a1b2c3", "active", "rule a of aws", start, until, "somebody", "an [upgrade]"]


def test_many_figures_in_order_share_the_line_of_the_worst() -> None:
    fine = [figure(value=value, age_s=value) for value in (3.0, 1.0, 2.0, 1.5)]
    bad = figure(state="firing", names=("gcp",))
    drawn = everything(
        listed(rule("a", *fine, limit="below 1"), rule("b", bad, *fine), rule("c", *fine[1:]))
    )
    _, *rows = lines(drawn)
    assert rows == [
        "a all 4 ok 1 below 1",
        "b gcp firing 1 (1 min ago) above 0",
        "b other 4 ok 3 above 0",
        *(f"c aws ok {value:g} above 0" for value in (1.0, 2.0, 1.5)),
    ]


def test_watchers_are_drawn_with_their_alerts() -> None:
    fires = {**WATCHER["firing"][0], "silenced": None}
    state = watcher(
        at=1000.0,
        interval=30.0,
        firing=[{**fires, "key": "dead-letters aws"}, {**fires, "key": "silence BTCUSDT"}],
        unknown=2,
        channels=["desk"],
        failures=["desk: x: HTTP 404"],
    )
    quiet = replace(state, firing=(), unknown=0, channels=(), failures=(), ended=True)
    runs = [Running("a", True, state), Running("b", False, quiet), Running("c", True)]
    _, *rows = text(watchers(runs, now=1010.0))
    assert rows == [
        ["a", "running", "7", "30 s", "dead-letters aws, silence BTCUSDT", "2", "desk"],
        ["b", "ended 10.0 s ago", "30 s", "nothing", "0", "none"],
        ["c", "starting"],
        ["a: not sent: desk: x: HTTP 404"],
    ]


def test_answers_of_channels_are_drawn() -> None:
    said = [
        ChannelAnswer("desk", "webhook", True, 0.1234, "HTTP 200"),
        ChannelAnswer("mail", "sns", False, None, "no [topic]"),
    ]
    _, *rows = text(answers(said))
    assert rows == [
        ["desk", "webhook", "ok", "0.12", "HTTP 200"],
        ["mail", "sns", "failed", "no [topic]"],
    ]
