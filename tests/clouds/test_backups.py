"""Backups that outlive a database."""

import pytest

from clouds.web import Answer, anonymous, google_error, serve
from mcloud.clouds.gcp.database import (
    DatabaseBackup,
    backups,
    delete_backup,
    deletion,
    described,
    not_listed,
)
from mcloud.errors import Refused

PLACE = "projects/desk/locations/us-central1/backups"


def backup(name: str, expires: str, database: str = "mcloud") -> dict[str, str]:
    return {
        "name": f"{PLACE}/{name}",
        "database": f"projects/desk/databases/{database}",
        "expireTime": f"{expires}T03:00:00Z",
        "state": "READY",
    }


def test_backups_of_a_database_are_listed_with_the_commands_that_delete_them() -> None:
    listed = [
        backup("b2", "2026-12-02"),
        backup("b1", "2026-12-01"),
        backup("b3", "2026-12-03", "another"),
    ]
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(f"{method} {path}")
        return 200, {"backups": listed}

    with serve(answer) as url:
        found = list(backups(anonymous(), "desk", "mcloud", url))
    assert asked == ["GET /v1/projects/desk/locations/-/backups"]
    assert described(found, "mcloud") == (
        "2 backups of the database mcloud can still be restored, and you pay for storage until"
        " 2026-12-02"
    )
    delete = "gcloud firestore backups delete --project=desk --location=us-central1 --backup"
    assert [deletion("desk", each) for each in found] == [f"{delete}=b1", f"{delete}=b2"]


def test_a_list_that_is_refused_leaves_a_doubt() -> None:
    refusal = google_error(403, "Missing or insufficient permissions.")
    with serve(lambda *_: refusal) as url, pytest.raises(Refused) as caught:
        list(backups(anonymous(), "desk", "mcloud", url))
    assert not_listed(caught.value, "desk", "mcloud") == (
        "backups of the database mcloud may be left, and are billed until they expire: they cannot"
        " be listed (Firestore: Missing or insufficient permissions.); see `gcloud firestore"
        " backups list --project=desk`"
    )


@pytest.mark.parametrize("answer", [(200, {}), google_error(404, "it has expired")])
def test_a_backup_is_deleted_even_if_it_has_expired(answer: Answer) -> None:
    asked: list[str] = []

    def note(method: str, path: str) -> Answer:
        asked.append(f"{method} {path}")
        return answer

    with serve(note) as url:
        delete_backup(anonymous(), DatabaseBackup(f"{PLACE}/b1", "2026-12-01T03:00:00Z"), url)
    assert asked == [f"DELETE /v1/{PLACE}/b1"]


def test_a_backup_that_may_not_be_deleted() -> None:
    refusal = google_error(403, "Missing or insufficient permissions.")
    with serve(lambda *_: refusal) as url, pytest.raises(Refused):
        delete_backup(anonymous(), DatabaseBackup(f"{PLACE}/b1", "2026-12-01T03:00:00Z"), url)
