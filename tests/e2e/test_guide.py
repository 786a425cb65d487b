"""The first steps of the guide, typed into a shell as they stand there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mcloud.local.children import free_ports

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "first-steps.md"


@pytest.mark.slow
def test_the_first_steps_work_as_written(tmp_path: Path) -> None:
    _, _, rest = PAGE.read_text("utf-8").partition("## Try it yourself")
    script = rest.partition("```bash\n")[2].partition("```")[0]
    assert script.count("mcloud local") == 3
    if not shutil.which("aws"):
        script = script.replace("aws s3 ls", "env")
    # The usual ports may be taken on this machine.
    names = ("aws_port", "gcp_port", "storage_port", "function_port")
    ports = zip(names, free_ports(4), strict=True)
    (tmp_path / "mcloud.toml").write_text(
        "[local]\n" + "".join(f"{name} = {port}\n" for name, port in ports)
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert '"raw_bucket"' in done.stdout
    assert "mcloud-raw-" in done.stdout
    status = subprocess.run(["mcloud", "local", "status"], cwd=tmp_path, capture_output=True)
    assert status.returncode == 3
