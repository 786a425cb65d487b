"""Checks of one site."""

import hashlib
from typing import Any, cast

import pytest
from observing.sites import FakeSite

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING
from mcloud.clouds.ports import FunctionCode, Site
from mcloud.doctor.site import code_finding
from mcloud.infra.bundle import build

DIGEST = hashlib.sha256(build("aws")).hexdigest()


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (FunctionCode("compact", DIGEST), OK),
        (FunctionCode("compact", "5f"), WARNING),
        (FunctionCode("compact", ""), UNKNOWN),
        (FunctionCode("compact", DIGEST, "Build failed"), FAULT),
    ],
)
def test_a_function_that_runs_other_code_is_reported(code: Any, state: str) -> None:
    processor = FunctionCode("processor", DIGEST)
    finding = code_finding(cast(Site, FakeSite(code=[processor, code])))
    assert finding.state == state
    assert (finding.remedy == "") == (state == OK)
    assert ("compact" in finding.text) == (state != OK)
