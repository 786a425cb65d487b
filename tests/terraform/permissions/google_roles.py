"""The permissions of every account of the Google module, read from Terraform's state."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES: Mapping[str, list[str]] = json.loads(
    Path(__file__).with_name("google-roles.json").read_text()
)
"""All permissions in Google's own roles that the module grants.

From https://docs.cloud.google.com/iam/docs/roles-permissions, as of 2026-08-22 (collected by
https://github.com/iann0036/iam-dataset). Google adds some from time to time.
"""

PUBSUB = "Pub/Sub"
"""The service agent with which Pub/Sub pushes messages and forwards dead letters."""

TRUSTED = "trusted principal"
"""Somebody who may use the account of a producer, a replicator or an operator."""


@dataclass(frozen=True)
class Grant:
    holder: str
    """The account, by the name of its resource, or PUBSUB or TRUSTED."""
    resource: str
    """Kind of the resource on which the role is granted. Those of ``permissions.NEEDS`` have the
    same names there."""
    role: str
    """Google's name of a role, or the title of a custom one."""
    permissions: frozenset[str]


def grants(state: list[dict[str, Any]]) -> Iterator[Grant]:
    """Yield every grant of the module. Raises KeyError for a holder or a role without a list."""
    holders = {}
    custom = {}
    for each in state:
        values = each["values"]
        if each["type"] == "google_service_account":
            holders[values["member"]] = _name(each)
        elif each["type"] == "google_project_iam_custom_role":
            custom[values["name"]] = (values["title"], values["permissions"])
    accounts = {
        each["values"]["name"]: _name(each)
        for each in state
        if each["type"] == "google_service_account"
    }
    for each in state:
        if not each["type"].endswith("_iam_member"):
            continue
        values = each["values"]
        if each["name"] == "trusted":
            holder = TRUSTED
        elif values["member"].endswith("@gcp-sa-pubsub.iam.gserviceaccount.com"):
            holder = PUBSUB
        else:
            holder = holders[values["member"]]
        role, permissions = custom.get(values["role"]) or (values["role"], ROLES[values["role"]])
        yield Grant(holder, _key(each["type"], values, accounts), role, frozenset(permissions))


def granted(state: list[dict[str, Any]], holder: str) -> set[tuple[str, str]]:
    """Return what the roles of an account allow: permissions, each with its resource."""
    return {
        (grant.resource, permission)
        for grant in grants(state)
        if grant.holder == holder
        for permission in grant.permissions
    }


def _name(resource: Mapping[str, Any]) -> str:
    """Return the name of a resource, or the one that ``for_each`` gives it."""
    index = resource.get("index")
    return index if isinstance(index, str) else str(resource["name"])


def _key(kind: str, values: dict[str, Any], accounts: Mapping[str, str]) -> str:
    """Return the kind of the resource on which a role is granted."""
    match kind.removeprefix("google_").removesuffix("_iam_member"):
        case "project":
            titles = {"mcloud database": "database", "function sources": "copied sources"}
            conditions = [each["title"] for each in values["condition"]]
            return titles[conditions[0]] if conditions else "project"
        case "storage_bucket":
            if "-source-" in values["bucket"]:
                return "source bucket"
            whole, part = {
                "mcloud-raw-mcloud-test": ("bucket", "raw"),
                "mcloud-staging-mcloud-test": ("staging", "staged"),
            }[values["bucket"]]
            return part if values["condition"] else whole
        case "pubsub_topic":
            return {"mcloud-trades": "topic", "mcloud-trades-dlq": "dlq_topic"}[values["topic"]]
        case "pubsub_subscription":
            return {
                "mcloud-trades-processor": "subscription",
                "mcloud-trades-dlq": "dlq_subscription",
            }[values["subscription"]]
        case "cloudfunctions2_function":
            return f"function {values['cloud_function']}"
        case "cloud_run_v2_service":
            return f"service {values['name']}"
        case "service_account":
            return f"account {accounts[values['service_account_id']]}"
        case "artifact_registry_repository":
            return "repository"
        case "bigquery_dataset":
            return "billing dataset"
    raise AssertionError(kind)
