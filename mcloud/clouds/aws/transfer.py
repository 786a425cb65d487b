"""Copies from Cloud Storage to S3 with AWS DataSync, in its Enhanced mode, which needs no agent.

This code has never run against the real clouds. The tests validate its requests against the API
model in botocore.

An operator runs this with their own permissions, and no component of the stack does. The
permissions are ``datasync:CreateLocationObjectStorage``, ``CreateLocationS3``, ``CreateTask``,
``ListTasks``, ``StartTaskExecution``, ``ListTaskExecutions``, ``DescribeTaskExecution``,
``DescribeTask``, ``DeleteTask``, ``DeleteLocation``, ``ListLocations``, ``TagResource``,
``ListTagsForResource``, ``iam:PassRole`` for the role, ``iam:CreateServiceLinkedRole`` for the
Enhanced mode, and ``secretsmanager:CreateSecret`` and related actions, because DataSync stores the
key in Secrets Manager until the end. The role trusts ``datasync.amazonaws.com``, and may list the
S3 bucket, and read and write its objects. Cloud Storage is read with an HMAC key, from KEY and
SECRET in the environment. The key is sent to DataSync and nowhere else.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.transfer import DONE, FAILED, GONE, RUNNING, Transferred, TransferState
from mcloud.errors import ConfigError

KEY, SECRET = "MCLOUD_GCS_HMAC_KEY", "MCLOUD_GCS_HMAC_SECRET"

TAG = "mcloud"  # tag of a location; its value is the name of the task that uses it

_STATES: Mapping[str, TransferState] = {"SUCCESS": DONE, "ERROR": FAILED}


class DataSync:
    """Implementation of ``transfer.Transfer`` with DataSync.

    Raises:
        ConfigError: there is no HMAC key in the environment.
    """

    service = "AWS DataSync"

    def __init__(self, source: str, target: str, region: str, role: str) -> None:
        self._source = source
        self._target = target
        self._region = region
        self._role = role
        lacking = [name for name in (KEY, SECRET) if not os.environ.get(name)]
        if lacking:
            raise ConfigError(
                f"{self.service} needs an HMAC key of Cloud Storage: {', '.join(lacking)} not set",
                remedy="make one with `gcloud storage hmac create SERVICE_ACCOUNT`, and set both"
                f" {KEY} and {SECRET}",
            )

    def start(self, folders: Sequence[str], token: str) -> str:
        partition = self._role.split(":")[1]  # arn:aws:…, arn:aws-cn:…
        tags = [{"Key": TAG, "Value": self._name(token)}]
        with translated(self.service), ExitStack() as undo:
            source = self._client.create_location_object_storage(
                ServerHostname="storage.googleapis.com",
                BucketName=self._source,
                AccessKey=os.environ[KEY],
                SecretKey=os.environ[SECRET],
                Tags=tags,
            )["LocationArn"]
            undo.callback(self._client.delete_location, LocationArn=source)
            target = self._client.create_location_s3(
                S3BucketArn=f"arn:{partition}:s3:::{self._target}",
                S3Config={"BucketAccessRoleArn": self._role},
                Tags=tags,
            )["LocationArn"]
            undo.callback(self._client.delete_location, LocationArn=target)
            task = self._client.create_task(
                Name=self._name(token),
                SourceLocationArn=source,
                DestinationLocationArn=target,
                TaskMode="ENHANCED",
                Options={
                    "OverwriteMode": "NEVER",
                    "PreserveDeletedFiles": "PRESERVE",
                    "VerifyMode": "ONLY_FILES_TRANSFERRED",
                    # Cloud Storage has no tags, and the run would fail immediately
                    "ObjectTags": "NONE",
                },
                # A folder includes everything in it. [AWS: FilterRule]
                Includes=[
                    {
                        "FilterType": "SIMPLE_PATTERN",
                        "Value": "|".join(map(_pattern, folders)),
                    }
                ],
            )["TaskArn"]
            undo.callback(self._client.delete_task, TaskArn=task)
            run = self._run(task)
            undo.pop_all()
        return run

    def find(self, token: str) -> str:
        with translated(self.service):
            for page in self._client.get_paginator("list_tasks").paginate():
                for task in page["Tasks"]:
                    if task.get("Name") == self._name(token):
                        return self._run_of(task["TaskArn"])
            self._remove_locations(self._name(token))
        return ""

    def look(self, name: str) -> Transferred:
        with translated(self.service):
            try:
                run = self._client.describe_task_execution(TaskExecutionArn=name)
            except self._client.exceptions.InvalidRequestException:
                return Transferred(GONE)
        failed = run.get("FilesFailed", {})
        result = run.get("Result", {})
        return Transferred(
            _STATES.get(run["Status"], RUNNING),
            run.get("FilesTransferred", 0),
            run.get("BytesTransferred", 0),
            sum(failed.get(step, 0) for step in ("Prepare", "Transfer", "Verify")),
            ": ".join(filter(None, (result.get("ErrorCode"), result.get("ErrorDetail")))),
        )

    def end(self, name: str) -> None:
        task = name.partition("/execution/")[0]
        with translated(self.service):
            try:
                about = self._client.describe_task(TaskArn=task)
            except self._client.exceptions.InvalidRequestException:
                return
            self._client.delete_task(TaskArn=task)
            for end in ("SourceLocationArn", "DestinationLocationArn"):
                self._client.delete_location(LocationArn=about[end])

    def _name(self, token: str) -> str:
        return f"mcloud restore {self._target} {token}"

    def _remove_locations(self, task: str) -> None:
        """Remove the locations of a task that was never created because its creator was stopped."""
        for page in self._client.get_paginator("list_locations").paginate():
            for location in page["Locations"]:
                arn, uri = location["LocationArn"], location["LocationUri"]
                # There may be many locations, and reading the tags of each takes a request.
                if self._source not in uri and self._target not in uri:
                    continue
                tags = self._client.list_tags_for_resource(ResourceArn=arn)["Tags"]
                if {"Key": TAG, "Value": task} in tags:
                    self._client.delete_location(LocationArn=arn)

    def _run_of(self, task: str) -> str:
        runs = self._client.list_task_executions(TaskArn=task)["TaskExecutions"]
        return str(runs[-1]["TaskExecutionArn"]) if runs else self._run(task)

    def _run(self, task: str) -> str:
        return str(self._client.start_task_execution(TaskArn=task)["TaskExecutionArn"])

    @cached_property
    def _client(self) -> Any:
        return make_client("datasync", self._region)


def _pattern(prefix: str) -> str:
    return f"/{prefix.removesuffix('/')}" if prefix.endswith("/") else f"/{prefix}*"
