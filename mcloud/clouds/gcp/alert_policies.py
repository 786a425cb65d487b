"""The alert policies of a stack.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies
"""

from typing import Any

from mcloud.clouds.gcp.client import GcpSession, refused, translated

URL = "https://monitoring.googleapis.com"


def metric_conditions(session: GcpSession, project: str, stack: str, url: str = URL) -> int:
    """Return the number of conditions on metrics. Google charges no conditions on logs."""
    path = f"{url}/v3/projects/{project}/alertPolicies"
    query: dict[str, Any] = {"filter": f'user_labels.stack="{stack}"', "pageSize": 100}
    count = 0
    while True:
        with translated("Cloud Monitoring"):
            answer = session.ask("GET", path, query=query)
        if not answer.ok:
            raise refused("Cloud Monitoring", answer)
        page = answer.document()
        for policy in page.get("alertPolicies", ()):
            count += sum("conditionMatchedLog" not in each for each in policy["conditions"])
        if not page.get("nextPageToken"):
            return count
        query = {**query, "pageToken": page["nextPageToken"]}
