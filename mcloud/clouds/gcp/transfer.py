"""Copies from S3 to Cloud Storage with Google's Storage Transfer Service.

This code has never run against the real clouds. The requests follow the service's REST reference,
and the tests validate them against it.

An operator runs this with their own permissions, and no component of the stack does. The
permissions are ``storagetransfer.jobs.create``, ``.get``, ``.run``, ``.delete`` and
``storagetransfer.operations.get`` on the project, as in ``roles/storagetransfer.admin``. The
service's own account (``project-NUMBER@storage-transfer-service.iam.gserviceaccount.com``) writes
into the bucket (``roles/storage.objectAdmin`` and ``storage.buckets.get``) and assumes the AWS
role, which trusts it by its subject id (``AssumeRoleWithWebIdentity``) and allows
``s3:ListBucket``, ``s3:GetBucketLocation`` and ``s3:GetObject``.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from mcloud.clouds.gcp.client import (
    GcpSession,
    make_session,
    refused,
    translated,
    understood,
)
from mcloud.clouds.transfer import DONE, FAILED, GONE, RUNNING, Transferred, TransferState
from mcloud.errors import Refused, Unavailable

_SERVICE = "Google's Storage Transfer Service"
_FAILED = ("FAILED", "ABORTED")


class _Missing(Refused):
    """Raised for HTTP 404."""


class StorageTransfer:
    """Implementation of ``transfer.Transfer`` with the Storage Transfer Service. ``root`` is the
    address of the API.
    """

    service = _SERVICE

    def __init__(
        self,
        source: str,
        target: str,
        project: str,
        role: str,
        root: str = "https://storagetransfer.googleapis.com",
    ) -> None:
        self._source = source
        self._target = target
        self._project = project
        self._role = role
        self._root = root

    @understood(_SERVICE)
    def start(self, folders: Sequence[str], token: str) -> str:
        job = self._ask(
            "POST",
            "transferJobs",
            document={
                "name": _job(token),
                "description": f"mcloud restore {self._target}",
                "status": "ENABLED",
                "projectId": self._project,
                "transferSpec": {
                    "awsS3DataSource": {"bucketName": self._source, "roleArn": self._role},
                    "gcsDataSink": {"bucketName": self._target},
                    "objectConditions": {"includePrefixes": list(folders)},
                    "transferOptions": {"overwriteWhen": "NEVER"},
                },
            },
        )["name"]
        try:
            return self._run(job)
        except (Refused, Unavailable):
            with suppress(Refused, Unavailable):  # the first error is more informative
                self._delete(job)
            raise

    @understood(_SERVICE)
    def find(self, token: str) -> str:
        try:
            job = self._ask("GET", _job(token), query={"projectId": self._project})
        except _Missing:
            return ""
        if job.get("status") == "DELETED":  # the service lists deleted jobs for a month
            return ""
        return str(job.get("latestOperationName") or self._run(job["name"]))

    @understood(_SERVICE)
    def look(self, name: str) -> Transferred:
        try:
            run = self._ask("GET", name)
        except _Missing:
            return Transferred(GONE)
        about = run.get("metadata", {})
        # Google's JSON encodes 64-bit numbers as strings and omits those that are 0.
        counters = {key: int(count) for key, count in about.get("counters", {}).items()}
        state: TransferState = RUNNING
        if run.get("done"):
            state = FAILED if "error" in run or about.get("status") in _FAILED else DONE
        return Transferred(
            state,
            counters.get("objectsCopiedToSink", 0),
            counters.get("bytesCopiedToSink", 0),
            counters.get("objectsFromSourceFailed", 0),
            _why(run),
        )

    @understood(_SERVICE)
    def end(self, name: str) -> None:
        try:
            self._delete(self._ask("GET", name)["metadata"]["transferJobName"])
        except _Missing:
            return

    def _run(self, job: str) -> str:
        return str(self._ask("POST", f"{job}:run", document={"projectId": self._project})["name"])

    def _delete(self, job: str) -> None:
        self._ask("DELETE", job, query={"projectId": self._project})

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        with translated(self.service):
            answer = self._session.ask(method, f"{self._root}/v1/{path}", **what)
        if answer.ok:
            return answer.document()
        error = refused(
            self.service,
            answer,
            lacks="check the role and the permissions of these credentials, and enable the API"
            f" with `gcloud services enable storagetransfer.googleapis.com --project"
            f" {self._project}`",
        )
        if answer.status == 404:
            raise _Missing(error.message)
        raise error

    @cached_property
    def _session(self) -> GcpSession:
        with translated(self.service):
            return make_session()


def _job(token: str) -> str:
    """Return the name of a job. [Google: TransferJob.name]"""
    return f"transferJobs/mcloud-{token}"


def _why(run: dict[str, Any]) -> str:
    """Return the first error of a run."""
    if "error" in run:
        return str(run["error"].get("message", "no message"))
    for kind in run.get("metadata", {}).get("errorBreakdowns", ()):
        entries = kind.get("errorLogEntries", ())
        said = [" ".join((each["url"], *each.get("errorDetails", ()))) for each in entries[:1]]
        return ": ".join((kind["errorCode"], *said))
    return ""
