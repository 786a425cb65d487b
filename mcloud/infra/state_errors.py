"""Errors of a site's state or its lock, recognised in Terraform's messages.

Each function returns the error for one kind of problem, or None if the text is about another.
"""

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcloud.errors import McloudError
from mcloud.infra.environment import without
from mcloud.infra.state import ERRORED, STATE

VARIABLES = "terraform.tfvars.json"
BACKEND = "backend.tf.json"  # exists if the state is stored outside the site's folder
LOCK_FILE = ".terraform.lock.hcl"  # versions and checksums of the providers
BACKUP = "terraform.tfstate.backup"

AGAIN = "run the same command again: it continues from what is in the state"

_LOCK = "Error acquiring the state lock"


@dataclass(frozen=True)
class FailedRun:
    """A failed run of ``binary`` in ``folder``."""

    folder: Path
    binary: str
    withheld: tuple[str, ...] = ()
    """Shell variables that mcloud does not pass to Terraform, such as TF_DATA_DIR."""
    lock_file: Path | None = None
    """Lock file of the providers that the user keeps, or None."""

    @property
    def project(self) -> dict[str, str]:
        """The Google project of the site, by the name of its variable; empty if there is none."""
        try:
            variables = json.loads((self.folder / VARIABLES).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}  # a folder that only reads a remote state
        return {name: variables[name] for name in ("project",) if name in variables}

    def command(self, words: str) -> str:
        """Return a shell command that runs Terraform in the same way as mcloud does."""
        start = (*without(self.withheld), self.binary, f"-chdir={self.folder}")
        return f"`{shlex.join(start)} {words}`"


class Locked(McloudError):
    """Another process holds the lock of a state."""


def unsaved(text: str, run: FailedRun) -> McloudError | None:
    if not re.search("Failed to (save|persist|write) state|Error saving state", text):
        return None
    why = text.strip().rpartition(": ")[2].rstrip(".")
    if (run.folder / ERRORED).exists():
        return McloudError(
            f"Terraform could not save its state ({why}); it is in {run.folder}/{ERRORED}",
            remedy="fix the cause and run the same command again: it saves that state first",
        )
    is_full = re.search("no space left|disk quota exceeded", why)
    return McloudError(
        f"Terraform {'found no room for' if is_full else 'could not save'} its state ({why});"
        f" mcloud has saved it, complete, in {run.folder}/{STATE}",
        remedy=f"{'free some space on its disk' if is_full else 'fix the cause'}, then {AGAIN}",
    )


def locked(text: str, run: FailedRun) -> McloudError | None:
    """Recognise a lock that another process holds.

    The text lacks the lock's fields if another process took or released it at that moment.
    """
    if _LOCK not in text:
        return None
    fields = dict(re.findall(r"^\s*(ID|Operation|Who|Created):[ \t]*(.*)$", text, re.MULTILINE))
    if "ID" in fields:
        operation = fields.get("Operation", "").removeprefix("OperationType").lower() or "at work"
        free = run.command(f"force-unlock {fields['ID']}")
        return Locked(
            f"the state is locked since {fields.get('Created', 'an unknown time')} by"
            f" {fields.get('Who', 'somebody')} ({operation}, lock {fields['ID']})",
            remedy="wait until that has ended, as with --lock-timeout 10m; only where its process"
            f" is gone: {free}",
        )
    if re.search(
        "resource temporarily unavailable|ConditionalCheckFailed|PreconditionFailed"
        "|conditionNotMet|pre-conditions you specified did not hold",
        text,
    ):
        return Locked(
            "another process has locked the state", remedy="run the same command again in a minute"
        )
    return None


def damaged(text: str, run: FailedRun) -> McloudError | None:
    """Recognise a damaged state. Locking reads the state, so the text may be a locking error."""
    if not re.search(
        "Unsupported state file format|Invalid state file format|state file could not be read"
        "|state data in .* corrupt",
        text,
    ):
        return None
    newer = re.search(
        r"uses format version \d+, which is not supported by \S+ (\S+?)\. This state file was"
        r" created by \S+ ([\w.-]+?)\.?(?:\s|$)",
        text,
    )
    if newer:
        return McloudError(
            f"the state was written by Terraform {newer[2]}, and this is {newer[1]}, which does"
            " not know its format",
            remedy="install a version that does, or name one in MCLOUD_TERRAFORM",
        )
    place, restore = _earlier(run)
    return McloudError(f"{place} is damaged: {_why(text)}", remedy=restore)


def other_than_its_digest(text: str, run: FailedRun) -> McloudError | None:
    """Recognise a state in S3 that does not match the digest in the lock table."""
    found = re.search(
        r"state data in S3 does not have the expected content.*?following value:\s*(\w*)",
        text,
        re.DOTALL,
    )
    if found is None:
        return None
    kind, options = _backend_of(run)
    key = f"{options['bucket']}/{options['key']}-md5" if kind == "s3" else "BUCKET/KEY-md5"
    item = json.dumps({"LockID": {"S": key}})
    command = f"aws dynamodb delete-item --table-name {options.get('dynamodb_table', 'TABLE')}"
    return McloudError(
        "the state in S3 is not the one that was saved last, by its digest in the lock table",
        remedy="wait a minute and run the same command again; if that does not help, check that "
        f"the object is the right version, and remove the digest with `{command} --key '{item}'`",
    )


def without_lock_table(text: str, run: FailedRun) -> McloudError | None:
    found = re.search(
        r'ResourceNotFoundException.*DynamoDB table "?([\w.-]+)"?|DynamoDB table "?([\w.-]+)"?'
        r".*ResourceNotFoundException",
        text,
        re.DOTALL,
    )
    if _LOCK not in text or found is None:
        return None
    table = found[1] or found[2]
    region = _backend_of(run)[1].get("region", "REGION")
    return McloudError(
        f"the table {table} for the lock of the state does not exist",
        remedy=f"make it with `aws dynamodb create-table --table-name {table}"
        " --attribute-definitions AttributeName=LockID,AttributeType=S"
        " --key-schema AttributeName=LockID,KeyType=HASH"
        f" --billing-mode PAY_PER_REQUEST --region {region}`, or correct `dynamodb_table` in"
        " `backend`; then run the same command again",
    )


def without_bucket(text: str, run: FailedRun) -> McloudError | None:
    """Recognise a missing bucket of a remote state. The modules create all other buckets."""
    kind, options = _backend_of(run)
    if kind not in ("s3", "gcs") or not re.search(
        r"NoSuchBucket|S3 bucket \S+ does not exist|storage: bucket doesn't exist"
        r'|writing "gs://.*googleapi: Error 404',
        text,
        re.DOTALL,
    ):
        return None
    bucket = options["bucket"]
    make = (
        f"aws s3 mb s3://{bucket} --region {options['region']}"
        if kind == "s3"
        else f"gcloud storage buckets create gs://{bucket}"
    )
    keep = (
        f"aws s3api put-bucket-versioning --bucket {bucket}"
        " --versioning-configuration Status=Enabled"
        if kind == "s3"
        else f"gcloud storage buckets update gs://{bucket} --versioning"
    )
    return McloudError(
        f"the bucket {bucket} for the state does not exist",
        remedy=f"make it with `{make}`, keep its versions with `{keep}`, or correct `bucket` in"
        " `backend`; then run the same command again",
    )


def unwritable(text: str, run: FailedRun) -> McloudError | None:
    """Recognise a file of a local state that the operating system does not let Terraform open."""
    found = re.search(
        r"(?:open|read) ([^\s:]*\.tfstate[^\s:]*): (permission denied|operation not permitted"
        r"|is a directory|read-only file system)",
        text,
    )
    if found is None:
        return None
    name, why = found.groups()
    path = run.folder / name
    remedy = {
        "permission denied": _permit(run.folder, path),
        "operation not permitted": f"run `sudo chattr -i {shlex.quote(str(path))}`",
        "is a directory": f"move {path} away, and put the state back in its place",
        "read-only file system": "remount the file system, or move the folder to another",
    }[why]
    return McloudError(
        f"Terraform cannot open its state {path}: {why}",
        remedy=f"{remedy}; then run the same command again",
    )


def without_locks(text: str, run: FailedRun) -> McloudError | None:
    if _LOCK not in text or not re.search(
        "operation not supported|no locks available|function not implemented", text
    ):
        return None
    return McloudError(
        f"the file system of {run.folder} has no locks, which Terraform needs for its state",
        remedy="move the folder .mcloud to a local disk and name it in MCLOUD_STATE, or keep the"
        " state in a bucket (`backend` in mcloud.toml)",
    )


def elsewhere(text: str, run: FailedRun) -> McloudError | None:
    if not re.search(
        "Backend (initialization required|configuration changed|configuration block has changed)"
        "|state migration",
        text,
    ):
        return None
    return McloudError(
        "the state of this site is where an earlier `backend` said, not where mcloud.toml says now",
        remedy=f"move it with {run.command('init -migrate-state')}, or restore `backend`; then "
        "run the same command again",
    )


def unlockable(text: str, run: FailedRun) -> McloudError | None:
    if _LOCK not in text:
        return None
    return McloudError(
        f"Terraform could not lock the state: {_why(text)}",
        remedy="fix that, then run the same command again",
    )


def _earlier(run: FailedRun) -> tuple[str, str]:
    """Return the location of the state, and the steps that restore an earlier one."""
    state, backup = run.folder / STATE, run.folder / BACKUP
    kind, options = _backend_of(run)
    check = "then look at the next plan"
    if kind == "s3":
        bucket, key = options["bucket"], options["key"]
        copy = f"--bucket {bucket} --key {key} --copy-source '{bucket}/{key}?versionId=VERSION'"
        return (
            f"the state s3://{bucket}/{key}",
            f"find a good version with `aws s3api list-object-versions --bucket {bucket} --prefix"
            f" {key}`, put it back with `aws s3api copy-object {copy}`, {check}",
        )
    if kind == "gcs":
        place = f"gs://{options['bucket']}/{options['prefix']}/default.tfstate"
        return (
            f"the state {place}",
            f"find a good version with `gcloud storage ls -a {place}`, put it back with"
            f" `gcloud storage cp '{place}#VERSION' {place}`, {check}",
        )
    if _is_state(backup):
        copy = shlex.join(("cp", str(backup), str(state)))
        return (
            f"the state {state}",
            f"run `{copy}`, which is the state before the last change, {check}: import what that"
            f" change made with {run.command('import ADDRESS ID')}",
        )
    return (f"the state {state}", f"restore {state} from a backup of this machine")


def _is_state(path: Path) -> bool:
    try:
        return "version" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _backend_of(run: FailedRun) -> tuple[str, dict[str, Any]]:
    """Return the kind of backend and its options. The kind is empty for a local state file."""
    try:
        document = json.loads((run.folder / BACKEND).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "", {}
    ((kind, options),) = document["terraform"]["backend"].items()
    return kind, options


def _permit(folder: Path, path: Path) -> str:
    """Return the advice that gives this user write access to the files in Terraform's folder."""
    shut = [each for each in (folder, path) if each.exists() and not os.access(each, os.W_OK)]
    mine = all(each.stat().st_uid == os.geteuid() for each in shut)
    start = ("chmod", "-R", "u+rwX") if mine else ("sudo", "chown", "-R", str(os.geteuid()))
    return f"run `{shlex.join((*start, str(folder)))}`"


def _why(text: str) -> str:
    """Return Terraform's message about a state or its lock, without its title and advice."""
    said = text.partition("Terraform acquires a state lock")[0].replace(_LOCK, "")
    return one_line(said.replace("Error message:", ""))


def one_line(text: str) -> str:
    """Return a text as one line, cut to 300 characters; ``-vv`` shows the full text."""
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:297]}…"
