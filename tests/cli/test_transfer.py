"""``mcloud restore --engine transfer-service`` without a real cloud."""

from .conftest import Terminal

ROLE = "arn:aws:iam::123456789012:role/copier"


def test_embedded_clouds_are_refused_in_a_line(mcloud_up: Terminal) -> None:
    command = ("restore", "gcp", "--from", "aws", "--engine", "transfer-service")
    done = mcloud_up.run(*command, "--role-arn", ROLE, "--yes")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "embedded clouds have no transfer service; use `--engine direct`" in line


def test_a_role_is_refused_for_other_engines(mcloud_up: Terminal) -> None:
    done = mcloud_up.run("restore", "gcp", "--from", "aws", "--role-arn", ROLE)
    assert done.returncode == 2
    assert "--role-arn is for --engine transfer-service" in done.stderr
