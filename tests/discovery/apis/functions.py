"""Cloud Functions, and the Cloud Run services behind them."""

import re

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, after_delete, check, complete
from ..limits import check_labels, check_name, check_number
from ..names import Json, last, new_etag, new_uuid
from ..refusal import invalid

FUNCTIONS = "cloudfunctions.projects.locations.functions"
DEFAULT_REPOSITORY = "gcf-artifacts"  # which Google creates
DEFAULTS = {
    "timeoutSeconds": 60,
    "availableMemory": "256M",
    "availableCpu": "0.1666",
    "maxInstanceCount": 100,
    "maxInstanceRequestConcurrency": 1,
    "ingressSettings": "ALLOW_ALL",
}


@check(FUNCTIONS)
def check_function(cloud: Cloud, change: Change) -> None:
    build = change.resource.get("buildConfig", {})
    config = change.resource.get("serviceConfig", {})
    # https://docs.cloud.google.com/functions/docs/reference/rest/v2/projects.locations.functions
    check_name("function", last(change.name), r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
    check_labels(change.resource)
    # https://docs.cloud.google.com/functions/docs/configuring/timeout: HTTP functions
    check_number("timeoutSeconds", config.get("timeoutSeconds"), 1, 3600)
    # https://docs.cloud.google.com/functions/docs/configuring/concurrency
    concurrency = config.get("maxInstanceRequestConcurrency")
    check_number("maxInstanceRequestConcurrency", concurrency, 1, 1000)
    if (concurrency or 1) > 1 and float(config.get("availableCpu") or 0.1666) < 1:
        raise invalid("Total cpu < 1 is not supported with concurrency > 1.")
    low, high = config.get("minInstanceCount", 0), config.get("maxInstanceCount") or 100
    if low > high:
        raise invalid(f"minInstanceCount {low} is more than maxInstanceCount {high}.")
    source = build.get("source", {}).get("storageSource", {})
    if source and not cloud.exists("storage", f"b/{source['bucket']}/o/{source['object']}"):
        raise invalid(
            f"Cloud Storage object {source['object']} not found in bucket {source['bucket']}."
        )
    repository = build.get("dockerRepository")
    is_own = repository and last(repository) != DEFAULT_REPOSITORY
    if is_own and not cloud.exists("artifactregistry", repository):
        raise invalid(f"Repository {repository} does not exist.")
    for account in (config.get("serviceAccountEmail"), last(build.get("serviceAccount", ""))):
        project = re.search(r"@([a-z0-9-]+)\.iam", account or "")
        if project and not cloud.exists("iam", f"projects/{project[1]}/serviceAccounts/{account}"):
            raise invalid(f"Service account {account} does not exist.")


@complete(FUNCTIONS)
def complete_function(cloud: Cloud, change: Change) -> None:
    _, project, _, location, _, short = change.name.split("/")
    function, number = change.resource, cloud.number_of(project)
    build, config = function.setdefault("buildConfig", {}), function.setdefault("serviceConfig", {})
    function |= {
        "state": "ACTIVE",
        "environment": "GEN_2",
        "url": f"https://{location}-{project}.cloudfunctions.net/{short}",
    }
    build["build"] = f"projects/{number}/locations/{location}/builds/{new_uuid()}"
    build.setdefault("dockerRegistry", "ARTIFACT_REGISTRY")
    place = f"projects/{project}/locations/{location}"
    build.setdefault("dockerRepository", f"{place}/repositories/{DEFAULT_REPOSITORY}")
    builder = f"{number}-compute@developer.gserviceaccount.com"
    build.setdefault("serviceAccount", f"projects/{project}/serviceAccounts/{builder}")
    build.setdefault("automaticUpdatePolicy", {})
    if source := build.get("source", {}).get("storageSource"):
        found = cloud.store["storage", f"b/{source['bucket']}/o/{source['object']}"]
        source["generation"] = found["generation"]
        build["sourceProvenance"] = {"resolvedStorageSource": dict(source)}
    revision = _revision(change.before) + 1
    config |= {
        "service": f"{place}/services/{short}",
        "uri": f"https://{short}-{number[:10]}-uc.a.run.app",
        "revision": f"{short}-{revision:05}-abc",
        "allTrafficOnLatestRevision": True,
    }
    for field, value in DEFAULTS.items():
        config.setdefault(field, value)
    config.setdefault("environmentVariables", {}).setdefault("LOG_EXECUTION_ID", "true")
    service = {
        "name": config["service"],
        "uid": new_uuid(),
        "etag": new_etag(),
        "uri": config["uri"],
    }
    cloud.store.setdefault(("run", config["service"]), service)


@after_delete(FUNCTIONS)
def delete_service(cloud: Cloud, call: Call, function: Json) -> None:
    cloud.remove("run", function["serviceConfig"]["service"])


def _revision(before: Json | None) -> int:
    """Return how often a function was deployed."""
    return int(before["serviceConfig"]["revision"].split("-")[-2]) if before else 0
