"""BigQuery: queries, whose rows a test chooses."""

import re

from ..call import Call
from ..cloud import Cloud
from ..hooks import answer
from ..names import Json, new_uuid
from ..refusal import invalid

LEGACY = "useLegacySql"


@answer("bigquery.jobs.query")
def query(cloud: Cloud, call: Call) -> Json:
    # https://docs.cloud.google.com/bigquery/docs/parameterized-queries
    parameters = {each["name"] for each in call.body.get("queryParameters", [])}
    if parameters and (call.body.get(LEGACY, True) or call.body.get("parameterMode") != "NAMED"):
        raise invalid("Named parameters need parameterMode NAMED and GoogleSQL.")
    for name in re.findall(r"@(\w+)", call.body["query"]):
        if name not in parameters:
            raise invalid(f"Query parameter '{name}' not found")
    job = {"projectId": call.name.split("/")[1], "jobId": f"job_{new_uuid()}", "location": "US"}
    answer = {"kind": "bigquery#queryResponse", **_results(cloud, job)}
    if cloud.settings.polls:
        return {"kind": answer["kind"], "jobReference": job, "jobComplete": False}
    return answer


@answer("bigquery.jobs.getQueryResults")
def query_results(cloud: Cloud, call: Call) -> Json:
    _, project, _, job = call.name.split("/")
    reference = {"projectId": project, "jobId": job, "location": call.query.get("location", "US")}
    return {"kind": "bigquery#getQueryResultsResponse", **_results(cloud, reference)}


def _results(cloud: Cloud, job: Json) -> Json:
    """Return the finished query, with the test's rows."""
    rows = cloud.query_rows
    return {
        "jobReference": job,
        "jobComplete": True,
        "totalRows": str(len(rows)),
        "totalBytesProcessed": "1048576",
        "schema": {"fields": [{"name": name, "type": "STRING"} for name in (rows or [{}])[0]]},
        "rows": [{"f": [{"v": value} for value in row.values()]} for row in rows],
    }
