"""The embedded AWS with IAM enforced, which notes each call of a role.

``python aws_server.py CALLS --home HOME`` with the variable ``AUTH=true``, with which
ministack enforces policies. ministack takes the name of an operation for that of an action; here
``aws_operations`` gives the actions, as AWS has them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb

sys.path.insert(0, str(Path(__file__).parents[2]))  # the folder of the tests
from terraform.permissions.aws_operations import KEY, STACK, needs

CALLS = Path(sys.argv.pop(1))
enforce, dynamodb_context = iam_evaluator.enforce, iam_actions.dynamodb_service_context


def enforce_and_note(
    access_key: str,
    operation: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """See ``iam_evaluator.enforce``."""
    # The policies of the queues and of the bucket deny plain HTTP, which this server speaks.
    iam_evaluator._request_origin.set(("127.0.0.1", True))
    role = role_of(access_key)
    if role is None:
        return enforce(access_key, operation, service, region, resource_arn, service_context)
    context = {**(service_context or {}), "iam:PassedToService": f"{service}.amazonaws.com"}
    refusal = None
    with CALLS.open("a") as file:
        for action, resource in needs(operation, resource_arn, role, stream()):
            if resource == KEY:
                context["aws:ResourceTag/stack"] = STACK
            denied = enforce(access_key, action, service, region, resource, context)
            call = (role, operation, action, resource, context, denied is not None)
            file.write(json.dumps(call, default=str) + "\n")
            refusal = refusal or denied
    return refusal


def context_with_keys(body: bytes) -> dict[str, Any]:
    """Return the context of a request to DynamoDB, with the partition key that ministack leaves
    out."""
    request = json.loads(body or b"{}")
    key = request.get("Item") or request.get("Key") or {}
    values = request.get("ExpressionAttributeValues") or {}  # of a query
    leading = key.get("kind") or key.get("symbol") or values.get(":kind")
    found = {"dynamodb:LeadingKeys": [leading["S"]]} if leading else {}
    return {**dynamodb_context(body), **found}


def stream() -> str:
    """Return the ARN of the stream of the candles; "" before there is one."""
    return str(dynamodb._tables.get(f"{STACK}-candles", {}).get("LatestStreamArn", ""))


def role_of(access_key: str) -> str | None:
    """Return the name of the role that a caller has assumed; None for the account itself."""
    identity = iam_evaluator.resolve_caller_identity(access_key)
    caller = identity["userArn"] if identity else ""
    return caller.split("/")[1] if ":assumed-role/" in caller else None


iam_evaluator.enforce = enforce_and_note
iam_actions.dynamodb_service_context = context_with_keys
# ministack has a shorter table of its own for Lambda, which takes some operations for others.
iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]
iam_actions._lambda_action = lambda method, path: None

if __name__ == "__main__":
    from mcloud.local.aws.server import main

    main()
