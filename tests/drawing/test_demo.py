"""The steps of the demo, character by character."""

from rich.console import Console, RenderableType

from mcloud.drawing.demo import steps
from mcloud.rehearsal.steps import STEPS, DemoSteps, SiteBar


def shown(drawn: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_done_steps_have_a_time_and_the_present_one_says_what_it_waits_for() -> None:
    seen = DemoSteps(
        at=12.3,
        reached={"up": 3.25, "refused": 11.0},
        doing="the functions fold the trades",
        bars={"aws": SiteBar(6_000, 12_000), "gcp-west": SiteBar(12_000, 12_000, "out")},
    )
    assert shown(steps(seen, 60), 60) == [
        "✓ both clouds up                                       3.2 s",
        "⠇ trades in, in any order, some twice",
        "  the functions fold the trades",
        "✓ the poison refused: messages that are no trades     11.0 s",
        "· every candle exact",
        "· a site taken out while trades flow",
        "· the guard moves the traffic",
        "· the site back, and caught up",
        "· exact again on both sites, and nothing lost",
        "  aws      ███████████░░░░░░░░░░░ 6,000 of 12,000",
        "  gcp-west ██████████████████████ 12,000 of 12,000  out",
    ]


def test_messages_that_are_still_retried_do_not_hide_the_step_that_runs() -> None:
    seen = DemoSteps(at=0.0, reached={"up": 1.0, "stored": 2.0, "exact": 3.0})
    lines = shown(steps(seen, 80), 80)
    assert lines[2] == "· the poison refused: messages that are no trades"
    assert lines[4] == "⠋ a site taken out while trades flow"


def test_a_failed_step_is_marked() -> None:
    seen = DemoSteps(reached={"exact": 3.0}, failed=frozenset({"exact"}))
    assert shown(steps(seen, 80), 80)[3].startswith("✗ every candle exact ")


def test_a_step_that_is_done_says_what_was_found() -> None:
    reached = dict.fromkeys(STEPS, 1.0)
    seen = DemoSteps(at=9.0, reached=reached, words={"moved": "moved in 4.8 s"}, doing="the meters")
    lines = shown(steps(seen, 80), 80)
    assert [line[0] for line in lines[:-1]] == ["✓"] * len(STEPS)
    assert lines[5].startswith("✓ moved in 4.8 s ")
    assert lines[-1] == "  the meters"
