"""IAM policies of any resource."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .call import Call
from .names import Json, new_etag
from .refusal import Refusal, invalid, missing

if TYPE_CHECKING:
    from .cloud import Cloud

MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers"
    r"|(user|serviceAccount|group|domain|projectOwner|projectEditor|projectViewer):.+"
    r"|deleted:(user|serviceAccount|group):.+\?uid=\d+"
    r"|principal(Set)?://.+"
)
"""https://docs.cloud.google.com/iam/docs/reference/rest/v1/Policy#Binding"""


def get(cloud: "Cloud", call: Call) -> Json:
    """Return the policy in the version that the request asks for."""
    policy = copy.deepcopy(_policy(cloud, call))
    asked = _asked_version(call)
    conditional = [binding for binding in policy["bindings"] if "condition" in binding]
    policy["version"] = 3 if conditional and asked >= 3 else 1
    if conditional and asked < 3:
        call.notes.append("conditions left out: version 3 was not asked for")
        for binding in conditional:
            condition = json.dumps(binding.pop("condition"))
            binding["role"] += f"_withcond_{hashlib.sha256(condition.encode()).hexdigest()[:20]}"
    if call.api == "storage":
        bucket = call.name.split("/")[1]
        policy |= {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket}"}
    return policy


def replace(cloud: "Cloud", call: Call) -> Json:
    """Replace the policy, if the etag is that of the newest version."""
    current = _policy(cloud, call)
    policy = copy.deepcopy(call.body if call.api == "storage" else call.body.get("policy", {}))
    if policy.get("etag", current["etag"]) != current["etag"]:
        raise Refusal(
            409,
            "There were concurrent policy changes. Please retry the whole read-modify-write with"
            " exponential backoff.",
            "ABORTED",
        )
    if "etag" not in policy:
        call.notes.append("no etag: overwrites any other change")
    bindings: list[Json] = []
    for binding in policy.get("bindings", []):
        if binding.get("condition") and int(policy.get("version", 0)) < 3:
            raise invalid("Policy version 3 is needed for conditional role bindings.")
        _check(cloud, binding)
        members = set(binding.get("members", []))
        for same in bindings:
            if _key(same) == _key(binding):
                same["members"] = sorted({*same["members"], *members})
                break
        else:
            if members:
                bindings.append({**binding, "members": sorted(members)})
    version = 3 if any("condition" in binding for binding in bindings) else 1
    current.update(bindings=bindings, etag=new_etag(), version=version)
    if policy.get("auditConfigs"):
        current["auditConfigs"] = policy["auditConfigs"]
    return get(cloud, call)


def test(cloud: "Cloud", call: Call) -> Json:
    """Return the permissions that the caller has of those in the request."""
    asked = call.body.get("permissions") or call.query.get("permissions") or []
    wanted = [asked] if isinstance(asked, str) else asked
    for permission in wanted:
        # https://docs.cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions
        if "*" in permission:
            raise invalid(f"Permission {permission} is not valid: wildcards are not allowed.")
        if not re.fullmatch(r"[a-z][a-z0-9]*(\.[a-zA-Z]+){2}", permission):
            raise invalid(f"Permission {permission} is not valid for this resource.")
    return {"permissions": [each for each in wanted if each not in cloud.settings.denied]}


def forget_member(cloud: "Cloud", member: str, unique_id: str) -> None:
    """Mark an account as deleted in all bindings. They keep its number, as in Google Cloud."""
    gone = f"deleted:{member}?uid={unique_id}"
    for policy in cloud.policies.values():
        for binding in policy["bindings"]:
            binding["members"] = [gone if each == member else each for each in binding["members"]]


def _exists(cloud: "Cloud", account: str) -> bool:
    """Return whether a service account exists; those of unknown projects do."""
    user, _, domain = account.partition("@")
    owner = domain.removesuffix(".iam.gserviceaccount.com")
    if owner in cloud.settings.projects:
        return cloud.exists("iam", f"projects/{owner}/serviceAccounts/{account}")
    # https://docs.cloud.google.com/iam/docs/create-service-agents
    is_agent = user.startswith("service-") and owner.startswith("gcp-sa-")
    return account in cloud.agents or not (is_agent and cloud.settings.requires_agents)


def _policy(cloud: "Cloud", call: Call) -> Json:
    """Return the stored policy of a resource."""
    name = call.name.removesuffix("/iam") if call.api == "storage" else call.name
    if call.api != "cloudresourcemanager" and (call.api, name) not in cloud.store:
        raise missing(f"Resource '{name}' was not found.")
    first = {"version": 1, "etag": "ACAB", "bindings": _first_bindings(cloud, call.api, name)}
    return cloud.policies.setdefault((call.api, name), first)


def _asked_version(call: Call) -> int:
    """Return the version of the policy that a request asks for."""
    for name in ("options.requestedPolicyVersion", "optionsRequestedPolicyVersion"):
        if name in call.query:
            return int(call.query[name])
    return int(call.body.get("options", {}).get("requestedPolicyVersion") or 1)


def _first_bindings(cloud: "Cloud", api: str, name: str) -> list[Json]:
    """Return the bindings of a new resource."""
    if api == "storage":
        number = cloud.store["storage", name]["projectNumber"]
        owner = next(id for id, digits in cloud.settings.projects.items() if digits == number)
        owners = [f"projectEditor:{owner}", f"projectOwner:{owner}"]
        return [
            {"role": "roles/storage.legacyBucketOwner", "members": owners},
            {"role": "roles/storage.legacyBucketReader", "members": [f"projectViewer:{owner}"]},
        ]
    if api == "cloudresourcemanager":
        return [{"role": "roles/owner", "members": ["user:owner@example.com"]}]
    return []


def _key(binding: Mapping[str, object]) -> tuple[object, object]:
    return binding["role"], binding.get("condition")


def _check(cloud: "Cloud", binding: Json) -> None:
    """Refuse members and roles that do not exist."""
    for member in binding.get("members", []):
        if not MEMBER.fullmatch(member):
            raise invalid(f"Invalid argument: member {member} has no known type.")
        kind, _, account = member.partition(":")
        if kind == "serviceAccount" and not _exists(cloud, account):
            raise invalid(f"Service account {account} does not exist.")
    role = binding["role"]
    if role.startswith("projects/"):
        if cloud.store.get(("iam", role), {"deleted": True}).get("deleted"):
            raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
    elif not re.fullmatch(r"roles/[A-Za-z0-9_.]+", role):
        raise invalid(f"Role {role} is not supported for this resource.")
