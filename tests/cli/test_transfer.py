"""``mcloud restore --engine transfer-service`` where no cloud can be asked."""

from .conftest import Terminal

ROLE = "arn:aws:iam::123456789012:role/copier"


def test_embedded_clouds_are_refused_in_a_line(mcloud_up: Terminal) -> None:
    command = ("restore", "gcp", "--from", "aws", "--engine", "transfer-service")
    done = mcloud_up.run(*command, "--role-arn", ROLE, "--yes")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "embedded clouds have no transfer service; use `--engine direct`" in line
