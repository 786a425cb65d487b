"""The foundation of a stack on Google Cloud: APIs, accounts, and permissions of the account that
builds the functions.

Google's servers learn of them one after another, and refuse what needs them until then. A
deployment that creates some of them therefore does so first, and waits before the rest.
"""

from mcloud.infra.plan import CREATE, StackPlan

APIS = ("google_project_service.",)
ACCOUNTS = (
    "google_service_account.",
    "google_artifact_registry_repository_iam_member.builder",
    "google_project_iam_member.builder_",
    "google_storage_bucket_iam_member.builder",
)
"""Beginnings of addresses in the module."""

SETTLE = 60.0
"""Seconds to wait after each of the two parts.

https://cloud.google.com/iam/docs/service-accounts-create: a new account can be used after up to 60
seconds. https://cloud.google.com/iam/docs/access-change-propagation: a permission takes up to two
minutes in general. If that was not enough, Google's refusal is recognised; see ``transient``.
"""


def created(plan: StackPlan, part: tuple[str, ...]) -> list[str]:
    """Return the addresses of a part of the foundation that a plan creates."""
    return [
        change.address
        for change in plan.changes
        if change.action == CREATE and change.address.startswith(part)
    ]
