"""Cloud Functions and their repositories."""

from typing import Any

from ..cloud import PROJECT
from ..google import Request
from .rule import DOCS, EMAIL, REGION, Described, Wrong, ask


def function(name: str = "other", **config: Any) -> Request:
    build = {"entryPoint": "main", "runtime": "python312"}
    return ask(
        f"POST cloudfunctions/v2/{REGION}/functions?functionId={name}",
        buildConfig=build,
        serviceConfig=config,
    )


def source(name: str) -> Request:
    place = {"storageSource": {"bucket": "mcloud-raw", "object": name}}
    line = f"POST cloudfunctions/v2/{REGION}/functions?functionId=other"
    return ask(line, buildConfig={"source": place})


def repository(name: str, **labels: str) -> Request:
    line = f"POST artifactregistry/v1/{REGION}/repositories?repositoryId={name}"
    return ask(line, format="DOCKER", labels=labels)


WRONG = [
    Wrong(
        "The name of a function is in lower case.",
        Described(
            "cloudfunctions.v2",
            "cloudfunctions.projects.locations.functions.create:functionId",
            "valid characters are /a-z-/",
        ),
        function("Processor"),
        function("processor"),
        says="Invalid function 'Processor'",
    ),
    Wrong(
        "A function runs for at most 60 minutes.",
        f"{DOCS}/run/docs/configuring/request-timeout",
        function(timeoutSeconds=3601),
        function(timeoutSeconds=3600),
    ),
    Wrong(
        "Concurrent requests need a whole CPU.",
        "https://github.com/firebase/firebase-tools/pull/4101",
        function(maxInstanceRequestConcurrency=8, availableCpu="0.5"),
        function(maxInstanceRequestConcurrency=8, availableCpu="1"),
        says="Total cpu < 1 is not supported with concurrency > 1",
    ),
    Wrong(
        "An instance has at most 1000 concurrent requests.",
        f"{DOCS}/run/docs/about-concurrency",
        function(maxInstanceRequestConcurrency=1001, availableCpu="1"),
        function(maxInstanceRequestConcurrency=1000, availableCpu="1"),
    ),
    Wrong(
        "There are not more minimum than maximum instances.",
        f"{DOCS}/run/docs/configuring/min-instances",
        function(minInstanceCount=3, maxInstanceCount=2),
        function(minInstanceCount=2, maxInstanceCount=2),
        says="is more than maxInstanceCount",
    ),
    Wrong(
        "The source of a function exists.",
        f"{DOCS}/functions/docs/troubleshooting",
        source("none.zip"),
        source("functions.zip"),
        says="none.zip not found in bucket mcloud-raw",
    ),
    Wrong(
        "The account of a function exists.",
        f"{DOCS}/functions/docs/troubleshooting",
        function(serviceAccountEmail=f"none@{PROJECT}.iam.gserviceaccount.com"),
        function(serviceAccountEmail=EMAIL),
        says="does not exist",
    ),
    Wrong(
        "The key of a label of a repository starts with a letter.",
        Described("artifactregistry.v1", "Repository.labels", "begin with a lowercase letter"),
        repository("functions", **{"1st": "a"}),
        repository("functions", first="a"),
    ),
    Wrong(
        "The name of a repository has no underscores.",
        f"{DOCS}/artifact-registry/docs/repositories/create-repos",
        repository("our_functions"),
        repository("our-functions"),
    ),
]
