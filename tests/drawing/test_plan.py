"""Plans as tables."""

from rich.console import Console

from mcloud.drawing.plan import changes_table, sentence
from mcloud.infra.plan import CREATE, DELETE, REPLACE, UPDATE, Change, StackPlan, change

BUCKET = change("aws_s3_bucket.raw", "aws_s3_bucket", DELETE, "mcloud-raw-1")
FUNCTION = Change("aws_lambda_function.p", "aws_lambda_function", UPDATE, changed=("memory 1 → 2",))


def drawn(plan: StackPlan, width: int = 120) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(changes_table("aws", plan))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_nothing_to_do() -> None:
    assert drawn(StackPlan(())) == ["aws: no changes"]


def test_each_change_is_a_line_with_its_risk() -> None:
    lines = drawn(StackPlan((FUNCTION, BUCKET)))
    assert lines[0] == "aws: 1 to change, 1 to destroy"
    assert lines[1].split() == ["change", "aws_lambda_function.p", "memory", "1", "→", "2"]
    assert lines[2].split("  ")[0:2] == ["destroy", "aws_s3_bucket.raw"]
    assert lines[2].endswith("! loses raw trades of mcloud-raw-1")


def test_drift_is_listed_separately_with_its_reversal() -> None:
    drift = Change(FUNCTION.address, FUNCTION.kind, UPDATE, changed=("memory 2 → 1",))
    lines = drawn(StackPlan((FUNCTION,), drift=(drift,)))
    assert lines[0] == "aws: 1 to change, 1 drifted"
    assert lines[1].endswith("puts back: memory 1 → 2")
    assert lines[2] == "drift, which applying puts back:"
    assert lines[3].split()[0] == "changed"
    assert lines[3].endswith("memory 2 → 1")


def test_a_replacement_says_why() -> None:
    one = Change("a.b", "a", REPLACE, because=("name",), changed=("name x → y",))
    assert drawn(StackPlan((one,)))[1].endswith("cannot be changed in place: name")


def test_many_attributes_are_counted() -> None:
    one = Change("a.b", "a", UPDATE, changed=tuple(f"x{n}" for n in range(9)))
    assert drawn(StackPlan((one,)))[1].endswith("x0, x1, x2, x3, x4, x5, 3 more")


def test_brackets_are_no_markup() -> None:
    one = Change('a.b["dead-letters"]', "a", CREATE)
    assert 'a.b["dead-letters"]' in drawn(StackPlan((one,)))[1]


def test_a_narrow_terminal_cuts_no_name() -> None:
    text = "".join("".join(drawn(StackPlan((BUCKET,)), width=50)).split())
    assert "mcloud-raw-1" in text or "raw-1" in text
    assert "…" not in text


def test_a_plan_that_only_changes_outputs() -> None:
    assert sentence(StackPlan((), outputs=("a", "b"))) == "2 outputs to change"
