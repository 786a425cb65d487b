"""Service accounts and custom roles."""

from ..call import Call
from ..cloud import Cloud, changed_fields, check_etag, set_path
from ..hooks import after_delete, answer
from ..limits import check_name
from ..names import Json, new_etag, new_number
from ..policies import forget_member
from ..refusal import Refusal, invalid, missing, precondition

DAY = 24 * 3600.0
UNDELETE = 7 * DAY
"""Time within which a deleted role can be restored."""
RESERVED = 37 * DAY
"""Time until the id of a deleted role can be used again.

https://docs.cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role: permanent
deletion takes 30 days after the 7 days within which the role can be undeleted.
"""

ACCOUNTS = "iam.projects.serviceAccounts"
ROLES = "iam.projects.roles"

UNSUPPORTED = (
    "resourcemanager.organizations.",
    "resourcemanager.folders.",
    "resourcemanager.projects.list",
)
"""Permissions that no custom role of a project can have.

https://docs.cloud.google.com/iam/docs/roles-overview#custom-role-permissions: those that are only
effective in an organization or a folder; for ``projects.list`` see
https://docs.cloud.google.com/iam/docs/troubleshooting-custom-roles.
"""


@answer(f"{ACCOUNTS}.create")
def create_account(cloud: Cloud, call: Call) -> Json:
    project, account_id = call.name.split("/")[1], call.body["accountId"]
    check_name("account id", account_id, r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
    email = f"{account_id}@{project}.iam.gserviceaccount.com"
    name = f"projects/{project}/serviceAccounts/{email}"
    if cloud.exists("iam", name):
        raise Refusal(
            409, f"Service account {account_id} already exists within project projects/{project}."
        )
    unique_id = new_number(21)
    account = {
        **call.body.get("serviceAccount", {}),
        "name": name,
        "projectId": project,
        "uniqueId": unique_id,
        "oauth2ClientId": unique_id,
        "email": email,
        "etag": new_etag(),
    }
    cloud.store["iam", name] = account
    return account


@answer(f"{ACCOUNTS}.patch")
def patch_account(cloud: Cloud, call: Call) -> Json:
    account = cloud.get(call)
    body, mask = changed_fields(call)
    for path in mask or ():
        set_path(account, body, path)
    account["etag"] = new_etag()
    return account


@after_delete(ACCOUNTS)
def forget_account(cloud: Cloud, call: Call, account: Json) -> None:
    forget_member(cloud, f"serviceAccount:{account['email']}", account["uniqueId"])


@answer(f"{ROLES}.get")
def get_role(cloud: Cloud, call: Call) -> Json:
    role = _role(cloud, call.name)
    if role is None:
        raise missing(f"The role named {call.name} was not found.")
    return role


@answer(f"{ROLES}.create")
def create_role(cloud: Cloud, call: Call) -> Json:
    role_id = call.body.get("roleId", "")
    check_name("role_id", role_id, r"[A-Za-z0-9_.]{3,64}")
    name = f"{call.name}/{role_id}"
    role = _role(cloud, name)
    if role and not role.get("deleted"):
        raise Refusal(409, f"A role named {role_id} in {call.name} already exists.")
    if role or _since_deletion(cloud, name) < RESERVED:
        raise precondition(
            f"You can't create a role_id ({role_id}) which has been marked for deletion."
        )
    new = {**call.body.get("role", {}), "name": name, "etag": new_etag()}
    _check_role(new)
    cloud.store["iam", name] = new
    return new


@answer(f"{ROLES}.patch")
def patch_role(cloud: Cloud, call: Call) -> Json:
    role = get_role(cloud, call)
    body, mask = changed_fields(call)
    check_etag(role, body)
    if mask is None:
        mask = [[name] for name in body]
    changed = dict(role)
    for path in mask:
        set_path(changed, body, path)
    _check_role(changed)
    role.clear()
    role.update(changed, etag=new_etag())
    return role


@answer(f"{ROLES}.delete")
def delete_role(cloud: Cloud, call: Call) -> Json:
    role = get_role(cloud, call)
    if role.get("deleted"):
        raise precondition("The role is already deleted.")
    role.update(deleted=True, etag=new_etag())
    cloud.deleted["iam", call.name] = cloud.settings.clock()
    return role


@answer(f"{ROLES}.undelete")
def undelete_role(cloud: Cloud, call: Call) -> Json:
    role = get_role(cloud, call)
    if not role.get("deleted"):
        raise precondition("The role is not deleted.")
    del role["deleted"]
    role["etag"] = new_etag()
    return role


def _role(cloud: Cloud, name: str) -> Json | None:
    """Return a role; None if it does not exist or can no longer be restored."""
    role = cloud.store.get(("iam", name))
    if role and role.get("deleted") and _since_deletion(cloud, name) >= UNDELETE:
        del cloud.store["iam", name]
        return None
    return role


def _since_deletion(cloud: Cloud, name: str) -> float:
    """Return the seconds since a role was deleted."""
    return cloud.settings.clock() - cloud.deleted.get(("iam", name), float("-inf"))


def _check_role(role: Json) -> None:
    for permission in role.get("includedPermissions", []):
        check_name("permission", permission, r"[a-z][a-z0-9]*(\.[a-zA-Z]+){2}")
        if permission.startswith(UNSUPPORTED):
            raise invalid(f"Permission {permission} is not valid.")
    # https://docs.cloud.google.com/iam/quotas: custom roles
    if len(role.get("title", "").encode()) > 100:
        raise invalid("The title of a role has at most 100 bytes.")
    if len(role.get("description", "").encode()) > 300:
        raise invalid("The description of a role has at most 300 bytes.")
