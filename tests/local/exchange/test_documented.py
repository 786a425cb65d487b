"""The reference page describes every route, and every fault with its fields."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mcloud.local.exchange.faults import KINDS, REASONS, Fault
from mcloud.local.exchange.rest import ENDPOINTS
from mcloud.local.exchange.streams import SERVED

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "local-exchange.md"


@pytest.fixture(scope="module")
def code() -> set[str]:
    """Return all code spans of the page."""
    return set(re.findall(r"`([^`\n]+)`", PAGE.read_text(encoding="utf-8")))


def test_every_rest_endpoint_is_documented(code: set[str]) -> None:
    names = {path.partition("/v")[2].partition("/")[2] for path in ENDPOINTS}
    assert names <= code


def test_every_kind_of_stream_is_documented(code: set[str]) -> None:
    kinds = {re.sub("<symbol>|<interval>", "", name) for name in re.split("[,;] ", SERVED)}
    documented = {re.sub("<symbol>|<interval>", "", name) for name in code}
    assert kinds <= documented


def test_every_fault_is_documented(code: set[str]) -> None:
    assert KINDS.keys() <= code
    assert set(REASONS) <= code
    assert {field.name for field in fields(Fault)} - {"kind"} <= code
