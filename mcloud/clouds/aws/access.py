"""Credentials, permissions and quotas of AWS."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mcloud.clouds.access import (
    FAULT,
    OK,
    UNKNOWN,
    WARNING,
    AccessFinding,
    Target,
    ask,
    ask_time,
    not_told,
    verdict,
)
from mcloud.clouds.anomalies import ANOMALIES
from mcloud.clouds.aws.client import make_client, partition_of, translated
from mcloud.clouds.aws.permissions import NEEDS, sample_arns
from mcloud.clouds.resources import functions_of
from mcloud.errors import Refused

SERVICES = {"queue": "sqs", "function": "lambda", "candles": "dynamodb", "archive": "s3"}

STAGING = ("staging", "staged", "foreign")
"""Resources in NEEDS that belong to the staging bucket."""

UNRESERVED = 100
"""Minimum of unreserved concurrent executions that Lambda requires in an account. [AWS: Lambda
quotas]
"""


class AwsAccess:
    """Implementation of ``access.Access`` for AWS."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._endpoint_url = target.resources.endpoint_url if target.resources else ""

    def prepare(self) -> None:
        self._client("sts")

    def identity(self) -> str:
        return str(self._caller()["Arn"])

    def clock(self) -> tuple[float, float]:
        return ask_time(self._client("sts").meta.endpoint_url)

    def reach(self, service: str) -> float:
        return ask(self._client(SERVICES[service]).meta.endpoint_url).seconds

    def permissions(self, component: str) -> AccessFinding:
        iam = self._client("iam")
        caller = self._caller()["Arn"]
        if caller.endswith(":root"):
            return AccessFinding(
                WARNING,
                "these credentials are of the account's root user, which should not be used",
                "use a role: `aws configure sso`, or set AWS_PROFILE",
            )
        source = self._policy_source(iam, caller)
        if source is None:
            return AccessFinding(UNKNOWN, f"IAM cannot simulate the policies of {caller}")
        names = self._arns(source)
        denied: dict[str, list[str]] = {}
        unclear: dict[str, list[str]] = {}
        for key, actions in NEEDS[component].items():
            if key in STAGING and not self._has_staging:
                continue
            try:
                with translated("IAM"):
                    pages = iam.get_paginator("simulate_principal_policy").paginate(
                        PolicySourceArn=source,
                        ActionNames=list(actions),
                        ResourceArns=[names[key] or self._stream()],
                        ContextEntries=_context(self._target.stack),
                    )
                    results = [each for page in pages for each in page["EvaluationResults"]]
            except Refused as error:
                return not_told(error)
            for result in results:
                if result["EvalDecision"] != "allowed":
                    # The simulation lacks a value for a condition, so its result is neither yes nor
                    # no.
                    lacking = unclear if result.get("MissingContextValues") else denied
                    lacking.setdefault(key, []).append(result["EvalActionName"])
        role = f"{self._target.stack}-{component}"
        assume = "" if component == "deployer" else f"assume the role {role}, or "
        return verdict(denied, unclear, f"{assume}have them granted to {source}")

    def quotas(self) -> dict[str, Callable[[], AccessFinding]]:
        before = {} if self._target.resources else {"region": self._region}
        has_mail = self._target.resources and self._target.variables.get("alert_email")
        mail = {"alert mail": self._alert_mail} if has_mail else {}
        return {**before, "concurrency": self._concurrency, **mail}

    def _region(self) -> AccessFinding:
        import boto3

        region, session = self._target.region, boto3.session.Session()
        partition = partition_of(region)
        known = {
            service: session.get_available_regions(service, partition_name=partition)
            for service in (*SERVICES.values(), "scheduler")
        }
        lacking = [service for service, regions in known.items() if region not in regions]
        if lacking:
            return AccessFinding(
                UNKNOWN,
                f"{region} has no {', '.join(lacking)}, according to the installed botocore",
                "correct `region` in mcloud.toml, or update boto3 if the region is new",
            )
        return AccessFinding(OK, f"{region} has every service")

    def _concurrency(self) -> AccessFinding:
        try:
            with translated("Lambda"):
                limit = self._client("lambda").get_account_settings()["AccountLimit"]
        except Refused as error:
            return not_told(error)
        total, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
        has = f"this account allows {total} concurrent executions, {free} of them unreserved"
        variables = self._target.variables
        wanted = int(variables.get("function_concurrency", 10))
        wanted += variables.get("anomalies", True) + variables.get("compaction", True)
        if variables.get("reserve_concurrency", False):
            try:
                own = self._reserved()
            except Refused as error:
                return not_told(error)
            # Lambda's own error shows this minimum: "… below its minimum value of [10]" in an
            # account with a limit of 10.
            least = min(UNRESERVED, total)
            if free + own - wanted < least:
                return AccessFinding(
                    FAULT,
                    f"{has}: Lambda requires {least} unreserved ones, and cannot reserve {wanted}",
                    "remove `reserve_concurrency` from the site's `variables` in mcloud.toml, or"
                    " ask AWS for more: Service Quotas, Lambda, Concurrent executions",
                )
        if total < wanted:
            return AccessFinding(
                WARNING,
                f"{has}, and mcloud's functions need {wanted}",
                "ask AWS for more: Service Quotas, Lambda, Concurrent executions",
            )
        return AccessFinding(OK, has)

    def _alert_mail(self) -> AccessFinding:
        """Check whether the address of ``alert_email`` has confirmed its subscription."""
        _, partition, _, _, account, _ = str(self._caller()["Arn"]).split(":", 5)
        topic = f"arn:{partition}:sns:{self._target.region}:{account}:{self._target.stack}-alerts"
        address = self._target.variables["alert_email"]
        try:
            with translated("SNS"):
                pages = self._client("sns").get_paginator("list_subscriptions_by_topic")
                found = [
                    each["SubscriptionArn"]
                    for page in pages.paginate(TopicArn=topic)
                    for each in page["Subscriptions"]
                    if each["Protocol"] == "email" and each["Endpoint"] == address
                ]
        except Refused as error:
            return not_told(error)
        if any(arn.startswith("arn:") for arn in found):
            return AccessFinding(OK, f"{address} gets the alerts")
        if found:
            return AccessFinding(
                WARNING,
                f"{address} has not confirmed its subscription, and gets no alerts",
                "open the link in the mail from AWS Notifications; if it is lost or older than"
                f" three days, run `aws sns subscribe --topic-arn {topic} --protocol email"
                f" --notification-endpoint {address}`",
            )
        return AccessFinding(
            WARNING,
            f"{address} is not subscribed to {topic}",
            "run `mcloud deploy`, which subscribes it",
        )

    def _reserved(self) -> int:
        """Return the concurrency that the deployed functions have reserved. An apply replaces
        it.
        """
        if self._target.resources is None:
            return 0
        found = 0
        for name in functions_of(self._target.resources.function):
            client = self._client("lambda")
            missing = client.exceptions.ResourceNotFoundException
            with translated(f"Lambda {name}"), suppress(missing):
                answer = client.get_function_concurrency(FunctionName=name)
                found += answer.get("ReservedConcurrentExecutions", 0)
        return found

    @property
    def _has_staging(self) -> bool:
        """Whether the site has a staging bucket, which sites of earlier releases do not have."""
        return bool(self._target.resources and self._target.resources.staging_bucket)

    def _caller(self) -> Any:
        with translated("AWS STS"):
            return self._client("sts").get_caller_identity()

    def _policy_source(self, iam: Any, caller: str) -> str | None:
        """Return the user or role whose policies apply to the caller; None for a federated user."""
        session = re.fullmatch(r"(arn:[^:]+):sts::(\d+):assumed-role/([^/]+)/.+", caller)
        if session is None:
            return caller if re.fullmatch(r"arn:[^:]+:iam::\d+:user/.+", caller) else None
        partition, account, role = session.groups()
        try:
            with translated("IAM"):
                # The caller's ARN omits the path of a role, which roles of IAM Identity Center
                # have.
                return str(iam.get_role(RoleName=role)["Role"]["Arn"])
        except Refused:
            return f"{partition}:iam::{account}:role/{role}"

    def _arns(self, source: str) -> dict[str, str]:
        """Return the ARNs of the resources in NEEDS, by name.

        The ARN of a stream is empty, because its name has to be queried.
        """
        _, partition, _, _, account, _ = source.split(":", 5)
        stack, to = self._target.stack, self._target.resources

        def arn(service: str, name: str) -> str:
            return f"arn:{partition}:{service}:{self._target.region}:{account}:{name}"

        def queue(url: str) -> str:
            owner, name = url.rsplit("/", 2)[1:]
            return f"arn:{partition}:sqs:{self._target.region}:{owner}:{name}"

        if to is None:
            return {
                **sample_arns(partition, self._target.region, account, stack),
                "oneself": source,
            }
        bucket = f"arn:{partition}:s3:::{to.raw_bucket}"
        staging = f"arn:{partition}:s3:::{to.staging_bucket}"
        return {
            **sample_arns(partition, self._target.region, account, stack),
            "oneself": source,
            "queue": queue(to.queue_url),
            "dlq": queue(to.dlq_url),
            "function": arn("lambda", f"function:{to.function}"),
            "candles": arn("dynamodb", f"table/{to.candles_table}"),
            "control": arn("dynamodb", f"table/{to.control_table}"),
            "stream": "",
            "bucket": bucket,
            "raw": f"{bucket}/raw/any",
            "staging": staging,
            "staged": f"{staging}/staged/any",
            "foreign": f"{staging}/foreign/any",
            "log group": arn("logs", f"log-group:/aws/lambda/{stack}-processor:*"),
            "alerts": arn("sns", f"{stack}-alerts"),
        }

    def _stream(self) -> str:
        table = self._client("dynamodb").describe_table(
            TableName=self._target.resources.candles_table
        )
        return str(table["Table"]["LatestStreamArn"])

    def _client(self, service: str) -> Any:
        return make_client(service, self._target.region, self._endpoint_url)


def _context(stack: str) -> list[dict[str, object]]:
    """Return what the conditions of deployers' policies test, see ``permissions.SCOPES``, and those
    of the role of producers.
    """
    values = {
        "aws:RequestTag/stack": (stack, "string"),
        "aws:ResourceTag/stack": (stack, "string"),
        "iam:PassedToService": ("lambda.amazonaws.com", "string"),
        "dynamodb:LeadingKeys": (ANOMALIES.name, "stringList"),
    }
    return [
        {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": kind}
        for name, (value, kind) in values.items()
    ]
