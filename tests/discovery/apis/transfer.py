"""Storage Transfer Service."""

from ..call import Call
from ..cloud import Cloud
from ..hooks import answer
from ..limits import check_name
from ..names import Json, new_number, timestamp
from ..refusal import Refusal, invalid, missing, precondition

JOBS = "storagetransfer.transferJobs"
DELETED = "DELETED"


@answer(f"{JOBS}.create")
def create_job(cloud: Cloud, call: Call) -> Json:
    job = call.body
    name = job.get("name") or f"transferJobs/{new_number()}"
    check_name("transfer job", name, r"transferJobs/(?!OPI)(?=.{1,115}$).*[A-Za-z0-9]")
    if job.get("status") not in ("ENABLED", "DISABLED"):
        raise invalid("The status of a new job is specified.")
    if len(job.get("description", "").encode()) > 1024:
        raise invalid("The description has at most 1024 bytes.")
    if job.get("projectId") not in cloud.settings.projects:
        raise Refusal(403, "The caller does not have permission")
    for prefix in job["transferSpec"].get("objectConditions", {}).get("includePrefixes", []):
        if prefix.startswith("/") or len(prefix.encode()) > 1024:
            raise invalid(f"Invalid prefix {prefix}: it has no leading slash.")
    # https://docs.cloud.google.com/storage-transfer/docs/manage-transfers: a name is used once
    if ("storagetransfer", name) in cloud.store:
        raise Refusal(409, f"Transfer job {name} already exists.")
    cloud.store["storagetransfer", name] = {**job, "name": name, "creationTime": timestamp()}
    return cloud.store["storagetransfer", name]


@answer(f"{JOBS}.get")
def get_job(cloud: Cloud, call: Call) -> Json:
    job = cloud.get(call)
    if job["projectId"] != call.query["projectId"]:
        raise missing(f"Transfer job {call.name} does not exist in this project.")
    return job


@answer(f"{JOBS}.delete")
def delete_job(cloud: Cloud, call: Call) -> Json:
    """Mark a job as deleted; it can be read for some time."""
    get_job(cloud, call).update(status=DELETED, deletionTime=timestamp())
    return {}


@answer(f"{JOBS}.run")
def run_job(cloud: Cloud, call: Call) -> Json:
    job = cloud.get(call)
    if job["projectId"] != call.body.get("projectId"):
        raise missing(f"Transfer job {call.name} does not exist in this project.")
    if job["status"] != "ENABLED":
        raise precondition(f"Transfer job {call.name} is {job['status']}.")
    name = f"transferOperations/transferJobs-{call.name.rpartition('/')[2]}-{new_number()}"
    job["latestOperationName"] = name
    about = {
        "@type": "type.googleapis.com/google.storagetransfer.v1.TransferOperation",
        "name": name,
        "projectId": job["projectId"],
        "transferSpec": job["transferSpec"],
        "transferJobName": call.name,
        "status": "SUCCESS",
        "counters": {"objectsCopiedToSink": "3", "bytesCopiedToSink": "1024"},
    }
    run = {"name": name, "metadata": about, "done": True, "response": {}}
    cloud.store["storagetransfer", name] = run
    return run


@answer("storagetransfer.transferOperations.get")
def get_run(cloud: Cloud, call: Call) -> Json:
    return cloud.get(call)
