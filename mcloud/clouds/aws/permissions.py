"""The actions that each component needs on AWS, and the policies that grant them to deployers.

The roles of the other components are in ``terraform/aws/iam.tf``. The tests compare both with all
calls from the creation of a stack to its deletion.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Needs = dict[str, tuple[str, ...]]
"""Actions by the name of their resources."""

_BUCKET_READS = (
    *("s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS"),
    *("s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration"),
    *("s3:GetBucketOwnershipControls", "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock"),
    *("s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning"),
    *("s3:GetBucketWebsite", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration"),
    *("s3:GetReplicationConfiguration", "s3:ListBucket"),
)

_READS: Needs = {
    "queues": ("sqs:GetQueueAttributes", "sqs:ListQueueTags"),
    "functions": (
        *("lambda:GetFunction", "lambda:GetFunctionCodeSigningConfig"),
        *("lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration"),
        *("lambda:GetFunctionEventInvokeConfig", "lambda:ListTags"),
        "lambda:ListVersionsByFunction",
    ),
    "event sources": ("lambda:GetEventSourceMapping", "lambda:ListTags"),
    "tables": (
        *("dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable"),
        *("dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource"),
    ),
    "buckets": _BUCKET_READS,
    "staging buckets": _BUCKET_READS,
    "roles": (*("iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"),),
    "log groups": ("logs:DescribeMetricFilters", "logs:ListTagsForResource"),
    "delivery logs": ("logs:DescribeLogStreams", "logs:ListTagsForResource"),
    "delivery streams": ("firehose:DescribeDeliveryStream", "firehose:ListTagsForDeliveryStream"),
    "topics": (
        *("sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListTagsForResource"),
        "sns:ListSubscriptionsByTopic",
    ),
    "alarms": ("cloudwatch:ListTagsForResource",),
    "dashboards": ("cloudwatch:GetDashboard",),
    "keys": ("kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
    "any key": ("kms:DescribeKey",),
    "schedules": ("scheduler:GetSchedule",),
    "budgets": ("budgets:ListTagsForResource", "budgets:ViewBudget"),
    "oneself": ("iam:GetRole", "iam:SimulatePrincipalPolicy"),
    "*": (
        *("cloudwatch:DescribeAlarms", "kms:ListAliases", "lambda:GetAccountSettings"),
        "logs:DescribeLogGroups",
    ),
}

_BUCKET_WRITES = (
    *("s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:ListBucketVersions"),
    *("s3:PutBucketOwnershipControls", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock"),
    *("s3:PutBucketTagging", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"),
)

_OBJECT_WRITES = ("s3:DeleteObject", "s3:DeleteObjectVersion")

_WRITES: Needs = {
    "queues": (
        *("sqs:CreateQueue", "sqs:DeleteQueue", "sqs:SetQueueAttributes", "sqs:TagQueue"),
        "sqs:UntagQueue",
    ),
    "functions": (
        *("lambda:CreateFunction", "lambda:DeleteFunction", "lambda:DeleteFunctionConcurrency"),
        *("lambda:DeleteFunctionEventInvokeConfig", "lambda:PutFunctionConcurrency"),
        *("lambda:PutFunctionEventInvokeConfig", "lambda:TagResource", "lambda:UntagResource"),
        *("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"),
        "lambda:UpdateFunctionEventInvokeConfig",
    ),
    "event sources": (
        *("lambda:DeleteEventSourceMapping", "lambda:TagResource", "lambda:UntagResource"),
        "lambda:UpdateEventSourceMapping",
    ),
    "tables": (
        *("dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:TagResource"),
        *("dynamodb:UntagResource", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable"),
    ),
    "buckets": (*_BUCKET_WRITES, "s3:PutBucketVersioning"),
    "staging buckets": _BUCKET_WRITES,
    "objects": _OBJECT_WRITES,
    "staged objects": _OBJECT_WRITES,
    "delivery streams": (
        *("firehose:CreateDeliveryStream", "firehose:DeleteDeliveryStream"),
        *("firehose:StartDeliveryStreamEncryption", "firehose:TagDeliveryStream"),
        *("firehose:UntagDeliveryStream", "firehose:UpdateDestination"),
    ),
    "roles": (
        *("iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"),
        *("iam:ListInstanceProfilesForRole", "iam:TagRole", "iam:UntagRole"),
        *("iam:UpdateAssumeRolePolicy", "iam:UpdateRole"),
    ),
    "passed roles": ("iam:PassRole",),
    "log groups": (
        *("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteMetricFilter"),
        *("logs:PutMetricFilter", "logs:PutRetentionPolicy", "logs:TagResource"),
        "logs:UntagResource",
    ),
    "delivery logs": (
        *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DeleteLogGroup"),
        *("logs:DeleteLogStream", "logs:PutRetentionPolicy", "logs:TagResource"),
        "logs:UntagResource",
    ),
    "topics": (
        *("sns:CreateTopic", "sns:DeleteTopic", "sns:SetTopicAttributes", "sns:Subscribe"),
        *("sns:TagResource", "sns:Unsubscribe", "sns:UntagResource"),
    ),
    "alarms": (
        *("cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"),
        "cloudwatch:UntagResource",
    ),
    "dashboards": ("cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"),
    "new keys": ("kms:CreateKey", "kms:TagResource"),
    "keys": (
        *("kms:CreateAlias", "kms:DeleteAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy"),
        *("kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource"),
        "kms:UpdateKeyDescription",
    ),
    "key aliases": ("kms:CreateAlias", "kms:DeleteAlias"),
    "schedules": (
        "scheduler:CreateSchedule",
        "scheduler:DeleteSchedule",
        "scheduler:UpdateSchedule",
    ),
    "budgets": ("budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"),
    "*": ("lambda:CreateEventSourceMapping",),
}


def _both(*needs: Needs) -> Needs:
    keys = dict.fromkeys(key for each in needs for key in each)
    return {key: tuple(sorted({a for each in needs for a in each.get(key, ())})) for key in keys}


NEEDS: dict[str, Needs] = {
    "deployer": _both(_READS, _WRITES),
    "planner": _READS,
    "operator": {
        "queue": ("sqs:GetQueueAttributes",),
        "dlq": ("sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"),
        "function": ("lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency"),
        "alerts": ("sns:ListSubscriptionsByTopic",),
        "candles": ("dynamodb:DescribeTable", "dynamodb:Query"),
        "control": ("dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:GetItem"),
        "raw": ("s3:GetObject",),
        "bucket": ("s3:ListBucket",),
        "staged": ("s3:GetObject",),
        "staging": ("s3:ListBucket",),
        "log group": ("logs:FilterLogEvents",),
        "oneself": ("iam:SimulatePrincipalPolicy", "iam:GetRole"),
        "*": (
            *("ce:GetCostAndUsage", "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"),
            *("lambda:GetAccountSettings", "logs:DescribeLogGroups"),
        ),
    },
    "producer": {
        "queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
        "candles": ("dynamodb:Query",),
        "control": ("dynamodb:GetItem", "dynamodb:PutItem"),
    },
    "replicator": {
        "function": ("lambda:GetFunctionConfiguration",),
        "queue": ("sqs:SendMessage", "sqs:GetQueueAttributes"),
        "dlq": (
            *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
            "sqs:GetQueueAttributes",
        ),
        "stream": ("dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords"),
        "candles": (
            *("dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
            "dynamodb:DeleteItem",
        ),
        "control": (
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:DeleteItem",
        ),
        "raw": ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        "bucket": ("s3:ListBucket",),
        "staged": ("s3:GetObject", "s3:DeleteObject"),
        "foreign": ("s3:PutObject",),
        "staging": ("s3:ListBucket",),
    },
}
"""Actions that a component needs, by the kind of resource. A planner reads the resources that
Terraform reads for a plan, and a deployer also creates, changes and removes them. The other
components have the roles in ``terraform/aws/iam.tf``.
"""


@dataclass(frozen=True)
class ArnScope:
    """Resources of one kind in a stack."""

    arn: str
    """Pattern of their ARNs."""
    sample: str = ""
    """Value for the ``*`` of the pattern when a single resource has to be named, as in a check."""
    condition: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict)
    """Condition of a policy under which the actions are granted."""


_TAGGED = {"StringEquals": {"aws:ResourceTag/stack": "{stack}"}}

SCOPES: Mapping[str, ArnScope] = {
    "queues": ArnScope("arn:{partition}:sqs:{region}:{account}:{stack}-*", "trades"),
    "functions": ArnScope(
        "arn:{partition}:lambda:{region}:{account}:function:{stack}-*", "processor"
    ),
    "event sources": ArnScope(
        "arn:{partition}:lambda:{region}:{account}:event-source-mapping:*", "a"
    ),
    "tables": ArnScope("arn:{partition}:dynamodb:{region}:{account}:table/{stack}-*", "candles"),
    "buckets": ArnScope("arn:{partition}:s3:::{stack}-raw-*", "any"),
    "objects": ArnScope("arn:{partition}:s3:::{stack}-raw-*/*", "any"),
    "staging buckets": ArnScope("arn:{partition}:s3:::{stack}-staging-*", "any"),
    "staged objects": ArnScope("arn:{partition}:s3:::{stack}-staging-*/*", "any"),
    "delivery streams": ArnScope(
        "arn:{partition}:firehose:{region}:{account}:deliverystream/{stack}-*", "trades"
    ),
    "delivery logs": ArnScope(
        "arn:{partition}:logs:{region}:{account}:log-group:/aws/kinesisfirehose/{stack}-*",
        "trades:*",
    ),
    "roles": ArnScope("arn:{partition}:iam::{account}:role/{stack}-*", "processor"),
    "passed roles": ArnScope(
        "arn:{partition}:iam::{account}:role/{stack}-*",
        "processor",
        {
            "StringEquals": {
                "iam:PassedToService": (
                    "firehose.amazonaws.com",
                    "lambda.amazonaws.com",
                    "scheduler.amazonaws.com",
                )
            }
        },
    ),
    "log groups": ArnScope(
        "arn:{partition}:logs:{region}:{account}:log-group:/aws/lambda/{stack}-*", "processor:*"
    ),
    "topics": ArnScope("arn:{partition}:sns:{region}:{account}:{stack}-*", "alerts"),
    "alarms": ArnScope("arn:{partition}:cloudwatch:{region}:{account}:alarm:{stack}-*", "any"),
    "dashboards": ArnScope("arn:{partition}:cloudwatch::{account}:dashboard/{stack}"),
    # A key has no name, so its tags show which stack it belongs to.
    "new keys": ArnScope("*", "*", {"StringEquals": {"aws:RequestTag/stack": "{stack}"}}),
    "keys": ArnScope("arn:{partition}:kms:{region}:{account}:key/*", "any", _TAGGED),
    "any key": ArnScope("arn:{partition}:kms:{region}:{account}:key/*", "any"),
    "key aliases": ArnScope("arn:{partition}:kms:{region}:{account}:alias/{stack}-*", "alerts"),
    "schedules": ArnScope(
        "arn:{partition}:scheduler:{region}:{account}:schedule/default/{stack}-*", "anomaly"
    ),
    "budgets": ArnScope("arn:{partition}:budgets::{account}:budget/{stack}-*", "monthly"),
    "oneself": ArnScope("arn:{partition}:iam::{account}:role/*"),
    "*": ArnScope("*", "*"),
}
"""Resources of planners and deployers, by their names in NEEDS."""


@dataclass(frozen=True)
class StateLocation:
    """Terraform's state in a bucket."""

    bucket: str
    key: str


def sample_arns(partition: str, region: str, account: str, stack: str) -> dict[str, str]:
    """Return the ARN of one resource of each of SCOPES, for a check."""
    names = {"partition": partition, "region": region, "account": account, "stack": stack}
    return {
        key: scope.arn.replace("*", scope.sample).format_map(names) for key, scope in SCOPES.items()
    }


def policy(
    component: str, partition: str, region: str, stack: str, state: StateLocation | None = None
) -> dict[str, Any]:
    """Return the IAM policy of a planner or a deployer of a stack, in any account.

    A planner locks the state like a deployer, but does not write it.
    """
    names = {"partition": partition, "region": region, "account": "*", "stack": stack}
    statements = [
        _statement(key, actions, scope.arn.format_map(names), _filled(scope.condition, names))
        for key, actions in NEEDS[component].items()
        for scope in (SCOPES[key],)
    ]
    if state is not None:
        bucket = f"arn:{partition}:s3:::{state.bucket}"
        lock = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")
        written = ("s3:GetObject", *(("s3:PutObject",) if component == "deployer" else ()))
        statements += [
            _statement("states", ("s3:ListBucket",), bucket),
            _statement("state", written, f"{bucket}/{state.key}"),
            _statement("lock", lock, f"{bucket}/{state.key}.tflock"),
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(
    key: str, actions: Iterable[str], resource: str, condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    sid = "Anything" if key == "*" else key.title().replace(" ", "")
    granted = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
    return granted | ({"Condition": condition} if condition else {})


def _filled(
    condition: Mapping[str, Mapping[str, str | tuple[str, ...]]], names: Mapping[str, str]
) -> dict[str, Any]:
    return {
        test: {
            key: value.format_map(names) if isinstance(value, str) else list(value)
            for key, value in values.items()
        }
        for test, values in condition.items()
    }
