"""Filters of subscriptions."""

import pytest

from mcloud.local.gcp.pubsub_filter import MessageFilter

ATTRIBUTES = {"kind": "trade", "a-b": 'say "x"', "empty": ""}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("attributes:kind", True),
        ("attributes : missing", False),
        ("attributes:empty", True),
        ('attributes.kind = "trade"', True),
        ('attributes.kind="candle"', False),
        ('attributes.kind != "candle"', True),
        ('attributes.missing != "x"', True),
        ('attributes."a-b" = "say \\"x\\""', True),
        ('hasPrefix(attributes.kind, "tr")', True),
        ('hasPrefix(attributes.kind, "x")', False),
        ("NOT attributes:kind", False),
        ("-attributes:missing", True),
        ("attributes:kind AND attributes:missing", False),
        ("attributes:kind OR attributes:missing", True),
        ("attributes:missing OR attributes:missing OR attributes:kind", True),
        ("attributes:kind AND NOT (attributes:missing OR attributes:empty)", False),
        ("NOT attributes:missing AND attributes:kind", True),
    ],
)
def test_a_filter(text: str, passes: bool) -> None:
    assert MessageFilter(text).passes(ATTRIBUTES) is passes


@pytest.mark.parametrize(
    "text",
    [
        "kind",
        "attributes",
        "attributes:",
        "attributes.kind",
        "attributes.kind > 3",
        'attributes.kind = trade"',
        "attributes:kind AND",
        "attributes:kind attributes:empty",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:kind",
        'hasPrefix(kind, "tr")',
        f'attributes.kind = "{"x" * 256}"',
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(ValueError, match=r"is unexpected|is not|is longer|need parentheses"):
        MessageFilter(text)
