"""The cost of a demo includes everything that it did, even writes of a second later."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.rehearsal import demo


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "METERS_QUIET", 0.05)
    monkeypatch.setattr(demo, "POLL", 0.001)


def test_the_meters_are_read_after_they_have_stopped_changing(
    hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts() -> Iterator[dict[str, Any]]:
        for puts in (100, 100, 200):
            yield {"aws": {"s3_puts": puts}, "gcp": {}}
        while True:
            yield {"aws": {"s3_puts": 1_000}, "gcp": {"function_requests": 1_000_000}}

    answers = counts()
    monkeypatch.setattr(demo.meter, "read", lambda home: next(answers))
    found = demo.demo_cost(Path("home"), {"aws": "aws", "gcp": "gcp"})
    assert (found["aws"].gross, found["aws"].net) == (Decimal("0.005"), Decimal("0.005"))
    assert (found["gcp"].gross, found["gcp"].net) == (Decimal("0.4"), 0)


def test_meters_that_keep_changing_are_read_after_a_time_limit(
    hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "METERS_PATIENCE", 0.1)
    counted = iter(range(10**9))
    monkeypatch.setattr(
        demo.meter, "read", lambda home: {"aws": {"s3_puts": next(counted)}, "gcp": {}}
    )
    assert demo.demo_cost(Path("home"), {"aws": "aws"})["aws"].gross > 0
