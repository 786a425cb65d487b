"""The bill of a project, from its export to BigQuery. It uses REST, because one query needs no SDK.

The table has the schema of the standard usage cost export:
https://docs.cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/standard-usage
"""

import re
import time
from decimal import Decimal
from typing import Any

from mcloud import http
from mcloud.clouds.billing import Bill, BillLine
from mcloud.clouds.gcp.client import (
    GcpSession,
    make_session,
    refused,
    translated,
    understood,
)
from mcloud.errors import ConfigError, Refused, Unavailable

ADDRESS = "https://bigquery.googleapis.com"
TIMEOUT = 30.0  # seconds; limit for the query and for each request
MOST_BYTES = 2**30  # bytes that the query may read; above this limit it fails and costs nothing
LEAST_BYTES = 10 * 2**20  # minimum number of bytes that BigQuery bills for a query
PER_BYTE = Decimal("6.25") / 2**40  # dollars

_TABLE = re.compile(r"[a-z][a-z0-9.:-]*\.\w+\.\w+")

# Costs are in the account's currency, and the conversion rate is the one from US dollars. The
# partition is the day of the export, which is never before the day of use.
_QUERY = """
SELECT
  FORMAT_TIMESTAMP('%F', usage_start_time) AS day,
  service.description AS service,
  EXISTS (SELECT 1 FROM UNNEST(labels) WHERE key = 'stack' AND value = @stack) AS labelled,
  CAST(SUM(CAST(cost / currency_conversion_rate AS NUMERIC)) AS STRING) AS usd,
  CAST(SUM(CAST(IFNULL((SELECT SUM(c.amount) FROM UNNEST(credits) AS c), 0)
    / currency_conversion_rate AS NUMERIC)) AS STRING) AS credits,
  UNIX_SECONDS(MAX(export_time)) AS exported
FROM `{table}`
WHERE _PARTITIONTIME >= TIMESTAMP(@first)
  AND usage_start_time >= TIMESTAMP(@first)
  AND usage_start_time < TIMESTAMP_ADD(TIMESTAMP(@last), INTERVAL 1 DAY)
  AND project.id = @project
GROUP BY day, service, labelled
ORDER BY day, service, labelled
"""


class BillingExport:
    """Implementation of ``billing.Billing`` for Google Cloud."""

    def __init__(
        self,
        project: str,
        stack: str,
        table: str,
        session: GcpSession | None = None,
        address: str = ADDRESS,
    ) -> None:
        if not _TABLE.fullmatch(table):
            raise ConfigError(
                f"gcp_billing_table is not a table: {table!r}; "
                "such as my-project.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"
            )
        self._project = project
        self._stack = stack
        self._table = table
        self._session = session
        self._address = f"{address}/bigquery/v2/projects/{project}/queries"

    def bill(self, first: str, last: str) -> Bill:
        what = f"the billing export {self._table}"
        with translated(what), understood(what):
            return self._bill(*self._rows(first, last))

    def _bill(self, rows: list[dict[str, str]], size: int) -> Bill:
        if not rows:
            raise Refused(
                f"{self._table} has no costs of {self._project} in these days",
                remedy="a new export fills within a day, and has no earlier months",
            )
        lines = tuple(
            BillLine(
                row["day"],
                row["service"],
                Decimal(row["usd"]),
                Decimal(row["credits"]),
                row["labelled"] == "true",
            )
            for row in rows
        )
        return Bill(
            source="Google's billing export",
            scope=f"the whole project {self._project}",
            lines=lines,
            as_of=max(float(row["exported"]) for row in rows),
            cost=max(size, LEAST_BYTES) * PER_BYTE,
        )

    def _rows(self, first: str, last: str) -> tuple[list[dict[str, str]], int]:
        """Return the rows, and the number of bytes that the query read."""
        session = self._session or make_session("bigquery")
        parameters = {
            "stack": self._stack,
            "first": first,
            "last": last,
            "project": self._project,
        }
        answer = _answer(
            session.ask(
                "POST",
                self._address,
                http.QUERY,
                document={
                    "query": _QUERY.format(table=self._table),
                    "useLegacySql": False,
                    "maximumBytesBilled": str(MOST_BYTES),
                    "timeoutMs": int(TIMEOUT * 1000),
                    "parameterMode": "NAMED",
                    "queryParameters": [
                        {
                            "name": name,
                            "parameterType": {"type": "STRING"},
                            "parameterValue": {"value": value},
                        }
                        for name, value in parameters.items()
                    ],
                },
            )
        )
        size = int(answer.get("totalBytesProcessed", 0))
        rows: list[dict[str, str]] = []
        deadline = time.monotonic() + TIMEOUT
        while True:
            if answer.get("jobComplete"):
                names = [each["name"] for each in answer["schema"]["fields"]]
                for row in answer.get("rows", []):
                    values = [cell["v"] for cell in row["f"]]
                    rows.append(dict(zip(names, values, strict=True)))
                if not answer.get("pageToken"):
                    return rows, max(size, int(answer.get("totalBytesProcessed", 0)))
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._table}: the query took longer than {TIMEOUT:.0f} s")
            answer = self._more(session, answer)

    def _more(self, session: GcpSession, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the next page, or the result of a query that was still running."""
        job = answer["jobReference"]
        parameters = {"timeoutMs": int(TIMEOUT * 1000), "location": job.get("location", "")}
        if answer.get("pageToken"):
            parameters["pageToken"] = answer["pageToken"]
        url = f"{self._address}/{job['jobId']}"
        return _answer(session.ask("GET", url, http.QUERY, query=parameters))


def _answer(answer: http.HttpAnswer) -> dict[str, Any]:
    if answer.ok:
        return answer.document()
    raise refused(
        "BigQuery",
        answer,
        lacks="have the roles BigQuery Job User and BigQuery Data Viewer granted on the dataset",
        missing="correct gcp_billing_table in [cost]",
    )
