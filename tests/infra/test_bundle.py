"""The function bundles: their content, and that the same sources give the same bytes."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mcloud.infra import bundle

HANDLERS = {"aws": "processor", "gcp": "main"}


@pytest.fixture(params=["aws", "gcp"])
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_same_sources_give_the_same_bytes(cloud: str) -> None:
    """This holds for another process with another hash seed and time zone."""
    script = (
        "import hashlib; from mcloud.infra.bundle import build;"
        f"print(hashlib.sha256(build({cloud!r})).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(digests) == 1


def test_dates_and_permissions_of_the_sources_do_not_matter(
    cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bundle.build(cloud)
    for name, content in bundle.contents(cloud).items():
        source = name.removeprefix("mcloud/")
        folder = "mcloud" if name.startswith("mcloud/") else f"functions/{cloud}"
        path = tmp_path / folder / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
        os.utime(path, (1, 1))
    monkeypatch.setattr(bundle, "PACKAGE", tmp_path / "mcloud")
    assert bundle.build(cloud) == before
    (tmp_path / "mcloud" / "errors.py").write_text("# changed")
    assert bundle.build(cloud) != before


def test_a_bundle_contains_the_adapters_of_one_cloud_only(cloud: str) -> None:
    names = zipfile.ZipFile(io.BytesIO(bundle.build(cloud))).namelist()
    other = "gcp" if cloud == "aws" else "aws"
    assert f"{HANDLERS[cloud]}.py" in names
    assert f"mcloud/clouds/{cloud}/candles.py" in names
    assert not [n for n in names if other in n or "cli" in n.split("/") or "__pycache__" in n]
    assert ("requirements.txt" in names) == (cloud == "gcp")


def test_a_bundle_is_small(cloud: str) -> None:
    assert len(bundle.build(cloud)) < 150_000


def test_a_bundle_runs_without_an_installed_mcloud(cloud: str, tmp_path: Path) -> None:
    """When it is imported from the unpacked bundle, nothing of an installed mcloud is used."""
    zipfile.ZipFile(io.BytesIO(bundle.build(cloud))).extractall(tmp_path)
    modules = "processor, anomalies, compaction" if cloud == "aws" else "main"
    script = (
        f"import sys, {modules};"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'mcloud'])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(loaded) > 10
    assert all(Path(name).is_relative_to(tmp_path) for name in loaded)


def test_terraform_and_functions_are_shipped() -> None:
    assert (bundle.shipped("functions") / "aws" / "processor.py").is_file()
    assert list((bundle.shipped("terraform") / "aws").glob("*.tf"))
