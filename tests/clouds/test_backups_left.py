"""Backups that outlive a destroyed site."""

from clouds.web import Answer, anonymous, google_error, serve
from mcloud.clouds.gcp.database import backups_left

PLACE = "projects/desk/locations/us-central1/backups"


def backup(name: str, expires: str, database: str = "mcloud") -> dict[str, str]:
    return {
        "name": f"{PLACE}/{name}",
        "database": f"projects/desk/databases/{database}",
        "expireTime": f"{expires}T03:00:00Z",
        "state": "READY",
    }


def said(answer: Answer) -> list[str]:
    asked: list[str] = []

    def answer_all(method: str, path: str) -> Answer:
        asked.append(f"{method} {path}")
        return answer

    with serve(answer_all) as url:
        found = list(backups_left(anonymous(), "desk", "mcloud", url))
    assert asked == ["GET /v1/projects/desk/locations/-/backups"]
    return found


def test_each_backup_is_listed_with_the_command_that_deletes_it() -> None:
    listed = [
        backup("b2", "2026-12-02"),
        backup("b1", "2026-12-01"),
        backup("b3", "2026-12-03", "another"),
    ]
    delete = "gcloud firestore backups delete --project=desk --location=us-central1 --backup"
    assert said((200, {"backups": listed})) == [
        "2 backups of the database mcloud can still be restored, and you pay for storage until"
        " 2026-12-02; delete what you do not need with:",
        f"`{delete}=b1`",
        f"`{delete}=b2`",
    ]


def test_without_backups_nothing_is_printed() -> None:
    assert said((200, {})) == []


def test_a_list_that_is_refused_leaves_a_doubt() -> None:
    (words,) = said(google_error(403, "Missing or insufficient permissions."))
    assert words == (
        "backups of the database mcloud may be left, and are billed until they expire: they cannot"
        " be listed (Firestore: Missing or insufficient permissions.); see `gcloud firestore"
        " backups list --project=desk`"
    )
