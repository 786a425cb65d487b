"""Cloud Scheduler."""

import re
from itertools import pairwise
from zoneinfo import available_timezones

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, answer, check, complete
from ..limits import check_duration, check_name
from ..names import Json, last, timestamp
from ..refusal import invalid

JOBS = "cloudscheduler.projects.locations.jobs"
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""Minute, hour, day of the month, month and day of the week.

https://docs.cloud.google.com/scheduler/docs/configuring/cron-job-schedules
"""
NAMES = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT"


@check(JOBS)
def check_job(cloud: Cloud, change: Change) -> None:
    job = change.resource
    check_name("job", last(change.name), r"[A-Za-z0-9_-]{1,500}")
    if len(job.get("description", "")) > 500:
        raise invalid("The description has at most 500 characters.")
    if not _is_schedule(job.get("schedule", "")):
        raise invalid(f"Schedule or time zone is invalid: '{job.get('schedule', '')}'.")
    if job.get("timeZone", "UTC") not in available_timezones() | {"utc"}:
        raise invalid(f"Schedule or time zone is invalid: '{job['timeZone']}'.")
    check_duration("attempt_deadline", job.get("attemptDeadline"), 15, 1800)
    if not 0 <= job.get("retryConfig", {}).get("retryCount", 0) <= 5:
        raise invalid("The retry count is between 0 and 5.")
    target = job.get("httpTarget")
    if target is None:
        return
    if not re.match("https?://", target.get("uri", "")):
        raise invalid("The URI begins with http:// or https://.")
    if target.get("body") and target.get("httpMethod", "POST") not in ("POST", "PUT", "PATCH"):
        raise invalid("Only a POST, PUT or PATCH has a body.")
    account = target.get("oidcToken", {}).get("serviceAccountEmail")
    project = change.name.split("/")[1]
    if account and not cloud.exists("iam", f"projects/{project}/serviceAccounts/{account}"):
        raise invalid(f"Service account {account} does not exist in {project}.")


def _is_schedule(schedule: str) -> bool:
    """Return whether a text is a schedule in the unix-cron format, or one in English."""
    if schedule.startswith("every "):
        return True
    parts = schedule.split()
    return len(parts) == len(RANGES) and all(map(_is_field, parts, RANGES))


def _is_field(text: str, limits: tuple[int, int]) -> bool:
    for item in text.split(","):
        found = re.fullmatch(rf"(\*|(?:\d+|{NAMES})(?:-(?:\d+|{NAMES}))?)(?:/([1-9]\d*))?", item)
        if not found:
            return False
        numbers = [int(digits) for digits in re.findall(r"\d+", found[1])]
        if not all(limits[0] <= number <= limits[1] for number in numbers):
            return False
        if any(low > high for low, high in pairwise(numbers)):
            return False
    return True


@complete(JOBS)
def complete_job(cloud: Cloud, change: Change) -> None:
    job = change.resource
    job |= {"state": "ENABLED", "userUpdateTime": timestamp(), "scheduleTime": timestamp()}
    job.setdefault("timeZone", "Etc/UTC")
    job.setdefault("attemptDeadline", "180s")
    defaults = {
        "maxRetryDuration": "0s",
        "minBackoffDuration": "5s",
        "maxBackoffDuration": "3600s",
        "maxDoublings": 5,
    }
    job["retryConfig"] = {**defaults, **job.get("retryConfig", {})}
    if target := job.get("httpTarget"):
        target.setdefault("httpMethod", "POST")
        target.setdefault("headers", {}).setdefault("User-Agent", "Google-Cloud-Scheduler")


@answer(f"{JOBS}.resume")
def resume(cloud: Cloud, call: Call) -> Json:
    job = cloud.get(call)
    job["state"] = "ENABLED"
    return job


@answer(f"{JOBS}.pause")
def pause(cloud: Cloud, call: Call) -> Json:
    job = cloud.get(call)
    job["state"] = "PAUSED"
    return job
