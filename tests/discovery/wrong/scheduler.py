"""Cloud Scheduler."""

from typing import Any

from ..google import Request
from .rule import DOCS, EMAIL, REGION, Described, Wrong, ask


def job(schedule: str = "*/5 * * * *", name: str = "j1", **body: Any) -> Request:
    target = {"uri": "https://example.com", **body.pop("target", {})}
    full = {"name": f"{REGION}/jobs/{name}", "schedule": schedule, "httpTarget": target, **body}
    return ask(f"POST cloudscheduler/v1/{REGION}/jobs", **full)


WRONG = [
    Wrong(
        "A schedule has five fields.",
        f"{DOCS}/scheduler/docs/configuring/cron-job-schedules",
        job("* * * *"),
        job("* * * * *"),
        says="Schedule or time zone is invalid",
    ),
    Wrong(
        "The minutes of a schedule are below 60.",
        f"{DOCS}/scheduler/docs/configuring/cron-job-schedules",
        job("60 * * * *"),
        job("59 * * * *"),
        says="Schedule or time zone is invalid",
    ),
    Wrong(
        "A job has a time zone of the tz database.",
        Described("cloudscheduler.v1", "Job.timeZone", "time zone name from the [tz database]"),
        job(timeZone="Berlin"),
        job(timeZone="Europe/Berlin"),
        says="Schedule or time zone is invalid",
    ),
    Wrong(
        "The name of a job has no periods.",
        Described("cloudscheduler.v1", "Job.name", "`JOB_ID` can contain only letters"),
        job(name="mcloud.anomalies"),
        job(name="mcloud-anomalies"),
    ),
    Wrong(
        "An attempt may last for at least 15 seconds.",
        Described("cloudscheduler.v1", "Job.attemptDeadline", "[15 seconds, 30 minutes]"),
        job(attemptDeadline="14s"),
        job(attemptDeadline="15s"),
    ),
    Wrong(
        "A job is tried again at most 5 times.",
        Described("cloudscheduler.v1", "RetryConfig.retryCount", "greater than 5"),
        job(retryConfig={"retryCount": 6}),
        job(retryConfig={"retryCount": 5}),
        says="between 0 and 5",
    ),
    Wrong(
        "A GET has no body.",
        Described("cloudscheduler.v1", "HttpTarget.body", "allowed only if the HTTP method"),
        job(target={"httpMethod": "GET", "body": "e30="}),
        job(target={"httpMethod": "POST", "body": "e30="}),
        says="has a body",
    ),
    Wrong(
        "The account of a job is in its project.",
        Described("cloudscheduler.v1", "OidcToken.serviceAccountEmail", "same project as the job"),
        job(target={"oidcToken": {"serviceAccountEmail": "a@other.iam.gserviceaccount.com"}}),
        job(target={"oidcToken": {"serviceAccountEmail": EMAIL}}),
        says="does not exist in demo-project-1",
    ),
]
