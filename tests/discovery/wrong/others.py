"""Budgets, services, transfers, traces and queries."""

from dataclasses import replace
from typing import Any

from ..cloud import PROJECT
from ..google import Request
from ..names import Json
from .rule import DOCS, Described, P, Wrong, ask


def budget(amount: Json, **body: Any) -> Request:
    line = "POST billingbudgets/v1/billingAccounts/012345-6789AB-CDEF01/budgets"
    return ask(line, amount=amount, **body)


def dollars(units: int, **body: Any) -> Request:
    return budget({"specifiedAmount": {"units": str(units), "currencyCode": "USD"}}, **body)


def transfer(name: str = "transferJobs/mcloud-1", prefix: str = "raw/", **body: Any) -> Request:
    spec = {"gcsDataSink": {"bucketName": "b"}, "objectConditions": {"includePrefixes": [prefix]}}
    full = {"name": name, "status": "ENABLED", "projectId": PROJECT, "transferSpec": spec, **body}
    return ask("POST storagetransfer/v1/transferJobs", **full)


def span(trace: str = "a" * 32, **body: Any) -> Request:
    full = {
        "name": f"{P}/traces/{trace}/spans/{'b' * 16}",
        "spanId": "b" * 16,
        "displayName": {"value": "span"},
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-01T00:00:01Z",
        **body,
    }
    return ask(f"POST cloudtrace/v2/{P}/traces:batchWrite", spans=[full])


def query(sql: str, *names: str, **body: Any) -> Request:
    parameters = [{"name": name, "parameterType": {"type": "STRING"}} for name in names]
    given = {"query": sql, "queryParameters": parameters, "useLegacySql": False, **body}
    return ask(f"POST bigquery/bigquery/v2/{P}/queries", **given)


def enable(count: int) -> Request:
    services = [f"service{n}.googleapis.com" for n in range(count)]
    return ask(f"POST serviceusage/v1/{P}/services:batchEnable", serviceIds=services)


def read_services(count: int) -> Request:
    names = [f"{P}/services/service{n}.googleapis.com" for n in range(count)]
    request = ask(f"GET serviceusage/v1/{P}/services:batchGet")
    return replace(request, query={"names": names})


WRONG = [
    Wrong(
        "The amount of a budget is not negative.",
        Described(
            "billingbudgets.v1",
            "GoogleCloudBillingBudgetsV1BudgetAmount.specifiedAmount",
            "must be non-negative",
        ),
        dollars(-1),
        dollars(50),
        says="not negative",
    ),
    Wrong(
        "The amount of the last period needs a calendar period.",
        Described(
            "billingbudgets.v1",
            "GoogleCloudBillingBudgetsV1BudgetAmount.lastPeriodAmount",
            "cannot be set in combination with Filter.custom_period",
        ),
        budget({"lastPeriodAmount": {}}, budgetFilter={"customPeriod": {}}),
        budget({"lastPeriodAmount": {}}),
        says="custom period",
    ),
    Wrong(
        "The name of a budget has at most 60 characters.",
        Described(
            "billingbudgets.v1", "GoogleCloudBillingBudgetsV1Budget.displayName", "60 characters"
        ),
        dollars(50, displayName="m" * 61),
        dollars(50, displayName="m" * 60),
        says="60 characters",
    ),
    Wrong(
        "A budget is filtered by one label.",
        Described(
            "billingbudgets.v1",
            "GoogleCloudBillingBudgetsV1Filter.labels",
            "multiple entries or multiple values per entry are not allowed",
        ),
        dollars(50, budgetFilter={"labels": {"stack": ["mcloud"], "team": ["desk"]}}),
        dollars(50, budgetFilter={"labels": {"stack": ["mcloud"]}}),
        says="at most one label",
    ),
    Wrong(
        "One request enables at most 20 services.",
        Described("serviceusage.v1", "BatchEnableServicesRequest.serviceIds", "maximum of 20"),
        enable(21),
        enable(20),
        says="maximum of 20",
    ),
    Wrong(
        "One request reads at most 30 services.",
        Described("serviceusage.v1", "serviceusage.services.batchGet:names", "maximum of 30"),
        read_services(31),
        read_services(30),
        says="maximum of 30",
    ),
    Wrong(
        "A transfer job has a name of its own.",
        Described("storagetransfer.v1", "TransferJob.name", "fails with an ALREADY_EXISTS error"),
        transfer("transferJobs/mcloud-1"),
        transfer("transferJobs/mcloud-2"),
        409,
        "ALREADY_EXISTS",
        "already exists",
        before=(transfer("transferJobs/mcloud-1"),),
    ),
    Wrong(
        "The name of a transfer job does not start with OPI.",
        Described(
            "storagetransfer.v1", "TransferJob.name", "must not start with `transferJobs/OPI`"
        ),
        transfer("transferJobs/OPI-mcloud"),
        transfer("transferJobs/mcloud-OPI"),
    ),
    Wrong(
        "A transfer job has a status.",
        Described("storagetransfer.v1", "TransferJob.status", "MUST be specified"),
        transfer(status="STATUS_UNSPECIFIED"),
        transfer(status="ENABLED"),
        says="status of a new job",
    ),
    Wrong(
        "A prefix of objects has no leading slash.",
        Described(
            "storagetransfer.v1", "ObjectConditions.includePrefixes", "omit the leading slash"
        ),
        transfer(prefix="/raw/"),
        transfer(prefix="raw/"),
        says="no leading slash",
    ),
    Wrong(
        "The id of a trace is not zero.",
        Described("cloudtrace.v2", "Span.name", "It should not be zero"),
        span("0" * 32),
        span("0" * 31 + "1"),
        says="Invalid name of a span",
    ),
    Wrong(
        "The name of a span has at most 128 bytes.",
        Described("cloudtrace.v2", "Span.displayName", "up to 128 bytes"),
        span(displayName={"value": "s" * 129}),
        span(displayName={"value": "s" * 128}),
        says="128 bytes",
    ),
    Wrong(
        "A parameter of a query has a value.",
        f"{DOCS}/bigquery/docs/parameterized-queries",
        query("SELECT @stack", parameterMode="NAMED"),
        query("SELECT @stack", "stack", parameterMode="NAMED"),
        says="Query parameter 'stack' not found",
    ),
    Wrong(
        "Named parameters need their mode.",
        Described("bigquery.v2", "QueryRequest.parameterMode", "NAMED to use named"),
        query("SELECT @stack", "stack"),
        query("SELECT @stack", "stack", parameterMode="NAMED"),
        says="parameterMode NAMED",
    ),
]
