"""Alerts as they are drawn."""

from typing import Any

from rich.console import Console, RenderableType

from mcloud.dashboard.alerts import answers, report, watchers


def text(renderable: RenderableType) -> list[list[str]]:
    console = Console(width=200, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in capture.get().splitlines()
    ]


def figure(**said: Any) -> dict[str, Any]:
    return {
        "names": ["aws"],
        "state": "ok",
        "value": 1.0,
        "age_s": 61.0,
        "why": "",
        "unknown": "",
        **said,
    }


def test_every_rule_says_what_it_knows() -> None:
    about = {"limit": "above 0", "severity": "warning", "origin": "built in", "why": ""}
    document = {
        "rules": [
            {
                "name": "a",
                "figures": [
                    figure(),
                    figure(state="firing", value=0.0, why="no answer"),
                    figure(state="firing", unknown="away"),
                    figure(state="unknown", value=None, age_s=None, unknown="[away]"),
                ],
                **about,
            },
            {"name": "b", "figures": [], **about, "why": "unknown: no such figure, x"},
            {"name": "c", "figures": [], **about},
        ]
    }
    _, *rows = text(report(document))
    end = ["above 0", "warning", "built in"]
    assert rows == [
        ["a", "aws", "ok", "1", "1 min 01 s", *end],
        ["a", "aws", "firing: no answer", "0", "1 min 01 s", *end],
        ["a", "aws", "firing (unknown)", "1", "1 min 01 s", *end],
        ["a", "aws", "unknown: [away]", *end],
        ["b", "unknown: no such figure, x", *end],
        ["c", "off", *end],
    ]


def test_watchers() -> None:
    state = {
        "pid": 7,
        "at": 1000.0,
        "interval": 30.0,
        "firing": [{"key": "dead-letters aws"}, {"key": "silence BTCUSDT"}],
        "unknown": 2,
        "channels": ["desk"],
        "failures": ["desk: x: HTTP 404"],
    }
    quiet = {**state, "firing": [], "unknown": 0, "channels": [], "failures": []}
    _, *rows = text(
        watchers([("a", True, state), ("b", False, quiet), ("c", True, {})], now=1010.0)
    )
    assert rows == [
        ["a", "running", "7", "30 s", "dead-letters aws, silence BTCUSDT", "2", "desk"],
        ["b", "ended 10.0 s ago", "30 s", "nothing", "0", "none"],
        ["c", "starting"],
        ["a: not sent: desk: x: HTTP 404"],
    ]


def test_answers() -> None:
    said = [
        {"name": "desk", "type": "webhook", "ok": True, "seconds": 0.1234, "answer": "HTTP 200"},
        {"name": "mail", "type": "sns", "ok": False, "seconds": None, "answer": "no [topic]"},
    ]
    _, *rows = text(answers(said))
    assert rows == [
        ["desk", "webhook", "ok", "0.12", "HTTP 200"],
        ["mail", "sns", "failed", "no [topic]"],
    ]
