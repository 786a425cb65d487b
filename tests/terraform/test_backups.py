"""``mcloud destroy`` lists the backups that outlive a database, and offers to delete them."""

import os
import pty
import subprocess

import pytest
from cli.conftest import Terminal
from discovery.google import Google as Cloud

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from patience import PATIENCE

from .test_deploy_gcp import google, served, site
from .test_foundation import cloud

__all__ = ["cloud", "google", "served", "site"]

PLACE = "projects/mcloud-local/locations/us-central1/backups"
DESTROY = ("destroy", "--confirm", "mcloud")


@pytest.fixture
def deployed(site: Terminal, cloud: Cloud) -> Terminal:
    """A site whose database has two backups, beside one of another database."""
    done = site.run("deploy", "--yes")
    assert done.returncode == 0, done.stderr
    # The embedded Firestore has no backups, so mcloud asks for none there.
    document = site.folder / "mcloud.toml"
    lines = document.read_text().splitlines(keepends=True)
    document.write_text("".join(each for each in lines if "firestore_endpoint" not in each))
    for name, database in (("b1", "(default)"), ("b2", "(default)"), ("b3", "another")):
        cloud.cloud.store["firestore", f"{PLACE}/{name}"] = {
            "name": f"{PLACE}/{name}",
            "expireTime": f"2026-12-0{name[1]}T03:00:00Z",
            "database": f"projects/mcloud-local/databases/{database}",
        }
    return site


def left(cloud: Cloud) -> list[str]:
    return sorted(name[-2:] for _, name in cloud.cloud.store if name.startswith(PLACE))


LISTED = (
    "gcp: 2 backups of the database (default) can still be restored, and you pay for storage until"
    " 2026-12-02"
)


def test_backups_are_listed_and_kept_unless_the_user_wants_them_deleted(
    deployed: Terminal, cloud: Cloud
) -> None:
    shown = deployed.run(*DESTROY, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"{LISTED}\n" in shown.stderr
    kept = deployed.run(*DESTROY, "--yes")
    assert kept.returncode == 0, kept.stderr
    assert f"{LISTED}; delete what you do not need with:\n" in kept.stderr
    assert "`gcloud firestore backups delete --project=mcloud-local" in kept.stderr
    assert left(cloud) == ["b1", "b2", "b3"]


def test_backups_are_deleted_with_an_option(deployed: Terminal, cloud: Cloud) -> None:
    done = deployed.run(*DESTROY, "--yes", "--delete-backups")
    assert done.returncode == 0, done.stderr
    assert "gcp: deleted 2 backups of the database (default)\n" in done.stderr
    assert "gcloud firestore backups delete" not in done.stderr
    assert left(cloud) == ["b3"]


@pytest.mark.parametrize(("answer", "remaining"), [("n", ["b1", "b2", "b3"]), ("y", ["b3"])])
def test_backups_are_deleted_if_the_user_says_so(
    deployed: Terminal, cloud: Cloud, answer: str, remaining: list[str]
) -> None:
    said, code = typed(deployed, f"y\n{answer}\n", *DESTROY)
    assert code == 0, said
    assert "Also delete the backups of gcp? Their data cannot be restored. [y/N]" in said
    assert left(cloud) == remaining


def typed(terminal: Terminal, answers: str, *arguments: str) -> tuple[str, int]:
    """Run a command on a terminal, and return what it says there and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        terminal.command(*arguments),
        cwd=terminal.folder,
        env=terminal.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        if not piece:
            break
        said += piece
    code = process.wait(PATIENCE)
    os.close(ours)
    return said.decode(), code
