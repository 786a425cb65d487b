"""Cloud Logging: metrics made of logs, exclusions, and searches."""

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, answer, check, complete
from ..limits import check_name
from ..names import Json
from ..refusal import invalid

METRICS = "logging.projects.metrics"
EXCLUSIONS = "logging.exclusions"  # of projects, folders and organizations
DISTRIBUTION = "DISTRIBUTION"


@check(METRICS)
def check_metric(cloud: Cloud, change: Change) -> None:
    metric = change.resource
    check_name("metric", metric["name"], r"(?!/)[A-Za-z0-9_\-.,+!*',()%/]{1,100}")
    if not metric.get("filter"):
        raise invalid("A metric has a filter.")
    if len(metric["filter"]) > 20_000:
        raise invalid("A filter has at most 20,000 characters.")
    descriptor = metric.get("metricDescriptor", {})
    if (descriptor.get("valueType") == DISTRIBUTION) != ("valueExtractor" in metric):
        raise invalid("A distribution has a value extractor, and a counter has none.")
    labels = {label["key"] for label in descriptor.get("labels", [])}
    if labels != set(metric.get("labelExtractors", {})):
        raise invalid("Every label has an extractor, and every extractor a label.")


@complete(METRICS)
def complete_metric(cloud: Cloud, change: Change) -> None:
    project, short = change.name.split("/")[1], change.name.split("/", 3)[3]
    metric, kind = change.resource, f"logging.googleapis.com/user/{short}"
    metric |= {"name": short, "resourceName": change.name}
    metric["metricDescriptor"] = {
        "metricKind": "DELTA",
        "valueType": "INT64",
        "unit": "1",
        **metric.get("metricDescriptor", {}),
        "name": f"projects/{project}/metricDescriptors/{kind}",
        "type": kind,
        "description": metric.get("description", ""),
    }


@answer(f"{METRICS}.update")
def update_metric(cloud: Cloud, call: Call) -> Json:
    """Replace a metric, or create it."""
    before = cloud.store.get(("logging", call.name))
    created = {"createTime": before["createTime"]} if before else {}
    return cloud.put(Change(call, call.name, {**call.body, **created}, before))


@check(EXCLUSIONS)
def check_exclusion(cloud: Cloud, change: Change) -> None:
    parent, _, name = change.name.rpartition("/")
    check_name("exclusion", name, r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
    if not change.resource.get("filter"):
        raise invalid("An exclusion has a filter.")
    others = [key for key in cloud.store if key[0] == "logging" and key[1].startswith(parent)]
    if change.is_new and len(others) >= 10:
        raise invalid(f"Invalid exclusion '{name}': the project has 10 exclusions.")


@complete(EXCLUSIONS)
def complete_exclusion(cloud: Cloud, change: Change) -> None:
    change.resource["name"] = change.name.rpartition("/")[2]


@answer("logging.entries.list")
def find_entries(cloud: Cloud, call: Call) -> Json:
    if not call.body.get("resourceNames"):
        raise invalid("A search names the resources whose entries it is for.")
    if call.body.get("orderBy", "timestamp asc") not in ("timestamp asc", "timestamp desc"):
        raise invalid(f"Invalid order: {call.body['orderBy']}.")
    if call.body.get("pageSize", 0) < 0:
        raise invalid("The page size is negative.")
    if len(call.body.get("filter", "")) > 20_000:
        raise invalid("A filter has at most 20,000 characters.")
    return {"entries": []}
