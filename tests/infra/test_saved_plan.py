"""A saved plan is applied only to the state and configuration from which it was made."""

import json
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcloud.errors import McloudError, UsageError
from mcloud.infra.saved_plan import ABOUT, Basis, SavedPlan, SitePlan, read

BASIS = Basis(
    stack="mcloud",
    place="",
    lineage="a99eddd8",
    serial=7,
    terraform="Terraform 1.11.4",
    files={"main.tf": "1", "bundle.zip": "2"},
)
SAVED = SavedPlan("prod", {"gcp": SitePlan(BASIS, b"the plan")})


def test_a_saved_plan_is_private_and_read_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.touch(0o644)
    SAVED.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path) == SAVED
    assert read(path).sites["gcp"].basis.differs(BASIS) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stack": "other"}, "it is for the stack 'mcloud', not 'other'"),
        ({"place": "s3"}, "the state was stored elsewhere"),
        ({"lineage": "b"}, "the site has a different state now"),
        ({"serial": 9}, "the state has changed from version 7 to 9"),
        ({"terraform": "OpenTofu 1.8.2"}, "it was made by Terraform 1.11.4, and this is OpenTofu"),
        ({"files": {"main.tf": "1", "bundle.zip": "3"}}, "other contents of bundle.zip"),
        ({"files": {"main.tf": "1"}}, "other contents of bundle.zip"),
        ({"files": {**BASIS.files, "new.tf": "1"}}, "other contents of new.tf"),
    ],
)
def test_each_changed_input_is_reported(change: dict[str, Any], why: str) -> None:
    assert why in BASIS.differs(replace(BASIS, **change))


@pytest.mark.parametrize("content", [b"", b"PK", b"text", b"PK\3\4" + bytes(30)])
def test_a_file_that_is_not_a_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a plan that mcloud saved; write one with"):
        read(path)


@pytest.mark.parametrize(
    "about", [[], {}, {"format": 1}, {"format": 1, "version": "0.1.0", "profile": "p", "sites": 3}]
)
def test_a_foreign_zip_file_is_refused(tmp_path: Path, about: object) -> None:
    path = tmp_path / "plan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(ABOUT, json.dumps(about))
    with pytest.raises(UsageError, match="is not a plan that mcloud saved"):
        read(path)


def test_a_missing_plan_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none cannot be read: No such file or directory"):
        read(tmp_path / "none")


def test_another_version_of_mcloud_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcloud.infra.saved_plan.__version__", "9.9.9")
    SAVED.write(tmp_path / "plan")
    monkeypatch.undo()
    with pytest.raises(McloudError, match=r"is not applied: mcloud 9\.9\.9 saved it, and this is"):
        read(tmp_path / "plan")
