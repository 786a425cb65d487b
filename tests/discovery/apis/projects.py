"""Projects, and their services and billing."""

from ..call import Call
from ..cloud import Cloud
from ..hooks import answer
from ..names import Json
from ..refusal import invalid

MOST_ENABLED, MOST_READ = 20, 30
"""Maximum number of services in one request."""
ACCOUNT = "billingAccounts/012345-6789AB-CDEF01"


@answer("cloudresourcemanager.projects.get")
def get_project(cloud: Cloud, call: Call) -> Json:
    project = call.name.split("/")[1]
    number = cloud.number_of(project)
    if call.document.version != "v1":
        name = f"projects/{number}"
        return {"name": name, "projectId": project, "state": "ACTIVE", "displayName": project}
    return {
        "projectNumber": number,
        "projectId": project,
        "lifecycleState": "ACTIVE",
        "name": project,
        "createTime": "2026-01-01T00:00:00.000Z",
    }


@answer("compute.projects.get")
def get_compute_project(cloud: Cloud, call: Call) -> Json:
    project = call.name.split("/")[1]
    return {"kind": "compute#project", "id": cloud.number_of(project), "name": project}


@answer("cloudbilling.projects.getBillingInfo")
def get_billing(cloud: Cloud, call: Call) -> Json:
    project, enabled = call.name.split("/")[1], cloud.settings.billing_enabled
    return {
        "name": f"projects/{project}/billingInfo",
        "projectId": project,
        "billingAccountName": ACCOUNT if enabled else "",
        "billingEnabled": enabled,
    }


@answer("serviceusage.services.get")
def get_service(cloud: Cloud, call: Call) -> Json:
    _, project, _, service = call.name.split("/")
    return _service(cloud, project, service)


@answer("serviceusage.services.list")
def list_services(cloud: Cloud, call: Call) -> Json:
    project = call.name.split("/")[1]
    enabled = sorted(service for owner, service in cloud.enabled if owner == project)
    return {"services": [_service(cloud, project, service) for service in enabled]}


@answer("serviceusage.services.batchGet")
def get_services(cloud: Cloud, call: Call) -> Json:
    asked = call.query.get("names", [])
    names = [asked] if isinstance(asked, str) else asked
    project = call.name.split("/")[1]
    if len(names) > MOST_READ:
        raise invalid(f"A single request can get a maximum of {MOST_READ} services.")
    found = []
    for name in map(cloud.canonical_name, names):
        parent, _, service = name.partition("/services/")
        if parent != f"projects/{project}":
            raise invalid(f"{name} is not in projects/{project}.")
        found.append(_service(cloud, project, service))
    return {"services": found}


@answer("serviceusage.services.batchEnable")
def enable_services(cloud: Cloud, call: Call) -> Json:
    project, services = call.name.split("/")[1], call.body["serviceIds"]
    if len(services) > MOST_ENABLED:
        raise invalid(f"A single request can enable a maximum of {MOST_ENABLED} services.")
    _enable(cloud, project, *services)
    found = [_service(cloud, project, service) for service in services]
    return cloud.start_operation(call, call.name, {"response": {"services": found}})


@answer("serviceusage.services.enable")
def enable_service(cloud: Cloud, call: Call) -> Json:
    _, project, _, service = call.name.split("/")
    _enable(cloud, project, service)
    found = {"service": _service(cloud, project, service)}
    return cloud.start_operation(call, call.name, {"response": found})


@answer("serviceusage.services.disable")
def disable_service(cloud: Cloud, call: Call) -> Json:
    _, project, _, service = call.name.split("/")
    cloud.enabled.pop((project, service), None)
    found = {"service": _service(cloud, project, service)}
    return cloud.start_operation(call, call.name, {"response": found})


@answer("serviceusage.services.generateServiceIdentity")
def generate_agent(cloud: Cloud, call: Call) -> Json:
    _, project, _, service = call.name.split("/")
    api = service.partition(".")[0]
    email = f"service-{cloud.number_of(project)}@gcp-sa-{api}.iam.gserviceaccount.com"
    cloud.agents.add(email)
    return cloud.start_operation(call, call.name, {"response": {"email": email}})


def _enable(cloud: Cloud, project: str, *services: str) -> None:
    for service in services:
        cloud.enabled.setdefault((project, service), cloud.settings.clock())


def _service(cloud: Cloud, project: str, service: str) -> Json:
    number = cloud.number_of(project)
    return {
        "name": f"projects/{number}/services/{service}",
        "parent": f"projects/{number}",
        "state": "ENABLED" if (project, service) in cloud.enabled else "DISABLED",
        "config": {"name": service},
    }
