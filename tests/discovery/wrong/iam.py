"""Roles, accounts and policies."""

from typing import Any

from ..cloud import PROJECT
from ..google import Request
from .rule import DOCS, EMAIL, Described, P, Wrong, ask


def role(role_id: str = "mcloud.other", **body: Any) -> Request:
    return ask(f"POST iam/v1/{P}/roles", roleId=role_id, role=body)


def account(account_id: str) -> Request:
    return ask(f"POST iam/v1/{P}/serviceAccounts", accountId=account_id)


def policy_of_topic(role: str, *members: str, **policy: Any) -> Request:
    whole = {"bindings": [{"role": role, "members": list(members)}], **policy}
    return ask(f"POST pubsub/v1/{P}/topics/trades:setIamPolicy", policy=whole)


ROLE = f"{P}/roles/mcloud.trader"

WRONG = [
    Wrong(
        "The id of a custom role has no dashes.",
        Described("iam.v1", "CreateRoleRequest.roleId", "underscores (`_`), and periods"),
        role("mcloud-trader"),
        role("mcloud.trader"),
        says="Invalid role_id 'mcloud-trader'",
    ),
    Wrong(
        "The id of a deleted role is reserved, within the time in which it can be restored.",
        f"{DOCS}/iam/docs/creating-custom-roles#deleting-custom-role",
        role("mcloud.trader"),
        ask(f"POST iam/v1/{ROLE}:undelete"),
        reason="FAILED_PRECONDITION",
        says="You can't create a role_id (mcloud.trader) which has been marked for deletion.",
        before=(role("mcloud.trader"), ask(f"DELETE iam/v1/{ROLE}")),
    ),
    Wrong(
        "The id of a deleted role is reserved for 37 days.",
        f"{DOCS}/iam/docs/creating-custom-roles#deleting-custom-role",
        role("mcloud.trader"),
        role("mcloud.trader"),
        reason="FAILED_PRECONDITION",
        says="marked for deletion",
        before=(role("mcloud.trader"), ask(f"DELETE iam/v1/{ROLE}")),
        wait=37 * 24 * 3600,
    ),
    Wrong(
        "A role cannot be restored if it was not deleted.",
        Described("iam.v1", "iam.projects.roles.delete", "You have 7 days to undelete"),
        ask(f"POST iam/v1/{ROLE}:undelete"),
        ask(f"GET iam/v1/{ROLE}"),
        reason="FAILED_PRECONDITION",
        says="not deleted",
        before=(role("mcloud.trader"),),
    ),
    Wrong(
        "A role of a project has no permission of organizations.",
        f"{DOCS}/iam/docs/roles-overview#custom-role-permissions",
        role(includedPermissions=["resourcemanager.organizations.get"]),
        role(includedPermissions=["resourcemanager.projects.get"]),
        says="Permission resourcemanager.organizations.get is not valid",
    ),
    Wrong(
        "A role has no wildcards.",
        f"{DOCS}/iam/docs/creating-custom-roles",
        role(includedPermissions=["pubsub.topics.*"]),
        role(includedPermissions=["pubsub.topics.get"]),
    ),
    Wrong(
        "The title of a role has at most 100 bytes.",
        Described("iam.v1", "Role.title", "limited to 100 UTF-8 bytes"),
        role(title="é" * 51),
        role(title="é" * 50),
        says="100 bytes",
    ),
    Wrong(
        "The id of an account has at least 6 characters.",
        Described("iam.v1", "CreateServiceAccountRequest.accountId", "6-30 characters"),
        account("trade"),
        account("trader"),
    ),
    Wrong(
        "A member of a policy exists.",
        f"{DOCS}/iam/docs/troubleshooting-policies",
        policy_of_topic("roles/viewer", f"serviceAccount:none@{PROJECT}.iam.gserviceaccount.com"),
        policy_of_topic("roles/viewer", f"serviceAccount:{EMAIL}"),
        says="does not exist",
    ),
    Wrong(
        "A member of a policy has a type.",
        Described("pubsub.v1", "Binding.members", "`user:{emailid}`"),
        policy_of_topic("roles/viewer", "ops@example.com"),
        policy_of_topic("roles/viewer", "user:ops@example.com"),
    ),
    Wrong(
        "A custom role of a policy exists.",
        f"{DOCS}/iam/docs/creating-custom-roles",
        policy_of_topic(ROLE, "user:ops@example.com"),
        policy_of_topic("roles/pubsub.viewer", "user:ops@example.com"),
        says="does not exist in the resource's hierarchy",
    ),
    Wrong(
        "A policy is replaced only with the newest etag.",
        Described("pubsub.v1", "Policy.etag", "optimistic concurrency control"),
        policy_of_topic("roles/viewer", "user:ops@example.com", etag="b2xk"),
        policy_of_topic("roles/viewer", "user:ops@example.com"),
        409,
        "ABORTED",
        "concurrent policy changes",
    ),
    Wrong(
        "A conditional binding needs version 3.",
        Described("pubsub.v1", "Policy.version", "must specify version `3`"),
        ask(
            f"POST cloudresourcemanager/v1/{P}:setIamPolicy",
            policy={"bindings": [{"role": "roles/viewer", "condition": {"expression": "true"}}]},
        ),
        ask(
            f"POST cloudresourcemanager/v1/{P}:setIamPolicy",
            policy={
                "version": 3,
                "bindings": [{"role": "roles/viewer", "condition": {"expression": "true"}}],
            },
        ),
        says="version 3",
    ),
    Wrong(
        "A test of permissions has no wildcards.",
        Described("pubsub.v1", "TestIamPermissionsRequest.permissions", "are not allowed"),
        ask(f"POST pubsub/v1/{P}/topics/trades:testIamPermissions", permissions=["pubsub.*"]),
        ask(
            f"POST pubsub/v1/{P}/topics/trades:testIamPermissions",
            permissions=["pubsub.topics.get"],
        ),
        says="wildcards",
    ),
]
