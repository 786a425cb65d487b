"""Artifact Registry."""

from ..cloud import Cloud
from ..hooks import Change, check, complete
from ..limits import check_labels, check_name


@check("artifactregistry.projects.locations.repositories")
def check_repository(cloud: Cloud, change: Change) -> None:
    short = change.name.rsplit("/", 1)[-1]
    # https://docs.cloud.google.com/artifact-registry/docs/repositories/create-repos
    check_name("repository", short, r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
    check_labels(change.resource)


@complete("artifactregistry.projects.locations.repositories")
def complete_repository(cloud: Cloud, change: Change) -> None:
    _, project, _, location, _, short = change.name.split("/")
    change.resource.setdefault("mode", "STANDARD_REPOSITORY")
    change.resource["registryUri"] = f"{location}-docker.pkg.dev/{project}/{short}"
    change.resource.setdefault("vulnerabilityScanningConfig", {}).update(
        enablementState="SCANNING_DISABLED",
        enablementStateReason="API containerscanning.googleapis.com is not enabled.",
    )
