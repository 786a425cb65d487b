"""The actions that each operation of AWS needs, as the service authorization reference lists them.

An operation needs the action of the same name on the resource that it names, except for those in
``OPERATIONS``. ministack translates the operations of S3 itself, such as HeadObject, which needs
`s3:GetObject`. Sources:
https://docs.aws.amazon.com/service-authorization/latest/reference/
reference_policies_actions-resources-contextkeys.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
sqs-api-permissions-reference.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
"""

from collections.abc import Mapping

ACCOUNT = "000000000000"
STACK = "mcloud"


def _arn(service: str, name: str, region: str = "us-east-1") -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{name}"


FOUND = "{found}"
"""The resource that ministack finds in the request."""

ALARM = _arn("cloudwatch", f"alarm:{STACK}-anomaly-errors")
ALIAS = _arn("kms", f"alias/{STACK}-alerts")
BUDGET = _arn("budgets", f"budget/{STACK}-monthly", region="")
DASHBOARD = _arn("cloudwatch", f"dashboard/{STACK}", region="")
FUNCTION = _arn("lambda", f"function:{STACK}-processor")
KEY = _arn("kms", "key/any")
MAPPING = _arn("lambda", "event-source-mapping:any")
ROLE = _arn("iam", f"role/{STACK}-processor", region="")
TABLE = _arn("dynamodb", f"table/{STACK}-candles")
DELIVERY = _arn("firehose", f"deliverystream/{STACK}-trades")
TOPIC = _arn("sns", f"{STACK}-alerts")
STREAM = "{stream}"
CALLER = _arn("iam", "role/{caller}", region="")

OPERATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "sqs:ChangeMessageVisibilityBatch": (("sqs:ChangeMessageVisibility", FOUND),),
    "sqs:DeleteMessageBatch": (("sqs:DeleteMessage", FOUND),),
    "sqs:SendMessageBatch": (("sqs:SendMessage", FOUND),),
    # Budgets has one action to read and one to write.
    "budgets:CreateBudget": (("budgets:ModifyBudget", BUDGET), ("budgets:TagResource", BUDGET)),
    "budgets:CreateNotification": (("budgets:ModifyBudget", BUDGET),),
    "budgets:DeleteBudget": (("budgets:ModifyBudget", BUDGET),),
    "budgets:DescribeBudget": (("budgets:ViewBudget", BUDGET),),
    "budgets:DescribeNotificationsForBudget": (("budgets:ViewBudget", BUDGET),),
    "budgets:DescribeSubscribersForNotification": (("budgets:ViewBudget", BUDGET),),
    "budgets:UpdateBudget": (("budgets:ModifyBudget", BUDGET),),
    # A request with tags also needs the action that tags, and one that hands a role to a service
    # needs to pass it.
    "cloudwatch:PutMetricAlarm": (
        ("cloudwatch:PutMetricAlarm", FOUND),
        ("cloudwatch:TagResource", FOUND),
    ),
    "dynamodb:CreateTable": (("dynamodb:CreateTable", FOUND), ("dynamodb:TagResource", FOUND)),
    "firehose:CreateDeliveryStream": (
        ("firehose:CreateDeliveryStream", DELIVERY),
        ("firehose:TagDeliveryStream", DELIVERY),
        ("iam:PassRole", ROLE),
    ),
    **{
        f"firehose:{operation}": ((f"firehose:{operation}", DELIVERY),)
        for operation in (
            *("DeleteDeliveryStream", "DescribeDeliveryStream", "ListTagsForDeliveryStream"),
            *("PutRecordBatch", "StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption"),
            *("TagDeliveryStream", "UntagDeliveryStream", "UpdateDestination"),
        )
    },
    "iam:CreateRole": (("iam:CreateRole", FOUND), ("iam:TagRole", FOUND)),
    "kms:CreateKey": (("kms:CreateKey", "*"), ("kms:TagResource", "*")),
    "lambda:CreateEventSourceMapping": (
        ("lambda:CreateEventSourceMapping", "*"),
        ("lambda:TagResource", MAPPING),
    ),
    "lambda:CreateFunction": (
        ("lambda:CreateFunction", FUNCTION),
        ("lambda:TagResource", FUNCTION),
        ("iam:PassRole", ROLE),
    ),
    "lambda:Invoke": (("lambda:InvokeFunction", FOUND),),
    "logs:CreateLogGroup": (("logs:CreateLogGroup", FOUND), ("logs:TagResource", FOUND)),
    "scheduler:CreateSchedule": (("scheduler:CreateSchedule", FOUND), ("iam:PassRole", ROLE)),
    "scheduler:UpdateSchedule": (("scheduler:UpdateSchedule", FOUND), ("iam:PassRole", ROLE)),
    "sns:CreateTopic": (("sns:CreateTopic", FOUND), ("sns:TagResource", FOUND)),
    "sqs:CreateQueue": (("sqs:CreateQueue", FOUND), ("sqs:TagQueue", FOUND)),
    # An alias has a key, and an operation on it needs the action on both.
    "kms:CreateAlias": (("kms:CreateAlias", ALIAS), ("kms:CreateAlias", KEY)),
    "kms:DeleteAlias": (("kms:DeleteAlias", ALIAS), ("kms:DeleteAlias", KEY)),
    # Streams of a log group are below it.
    "logs:FilterLogEvents": (("logs:FilterLogEvents", FOUND + ":*"),),
    # Operations whose resource ministack does not find.
    "budgets:ListTagsForResource": (("budgets:ListTagsForResource", BUDGET),),
    "budgets:TagResource": (("budgets:TagResource", BUDGET),),
    "cloudwatch:DeleteAlarms": (("cloudwatch:DeleteAlarms", ALARM),),
    "cloudwatch:DeleteDashboards": (("cloudwatch:DeleteDashboards", DASHBOARD),),
    "cloudwatch:GetDashboard": (("cloudwatch:GetDashboard", DASHBOARD),),
    "cloudwatch:ListTagsForResource": (("cloudwatch:ListTagsForResource", ALARM),),
    "cloudwatch:PutDashboard": (("cloudwatch:PutDashboard", DASHBOARD),),
    "cloudwatch:TagResource": (("cloudwatch:TagResource", ALARM),),
    "dynamodb:ListTagsOfResource": (("dynamodb:ListTagsOfResource", TABLE),),
    "dynamodb:DescribeStream": (("dynamodb:DescribeStream", STREAM),),
    "dynamodb:GetRecords": (("dynamodb:GetRecords", STREAM),),
    "dynamodb:GetShardIterator": (("dynamodb:GetShardIterator", STREAM),),
    "dynamodb:TagResource": (("dynamodb:TagResource", TABLE),),
    "iam:SimulatePrincipalPolicy": (("iam:SimulatePrincipalPolicy", CALLER),),
    "kms:DescribeKey": (("kms:DescribeKey", KEY),),
    "sns:GetSubscriptionAttributes": (("sns:GetSubscriptionAttributes", TOPIC),),
    "sns:ListTagsForResource": (("sns:ListTagsForResource", TOPIC),),
    "sns:TagResource": (("sns:TagResource", TOPIC),),
    "sns:Unsubscribe": (("sns:Unsubscribe", TOPIC),),
}


def needs(operation: str, found: str, caller: str, stream: str) -> list[tuple[str, str]]:
    """Return the actions that an operation of a role needs, each with its resource.

    Args:
        operation: such as ``sqs:SendMessageBatch``.
        found: the resource that ministack finds in the request.
        caller: the role.
        stream: the stream of the candles.
    """
    names = {"caller": caller, "found": found, "stream": stream}
    actions = OPERATIONS.get(operation, ((operation, FOUND),))
    return [(action, arn.format_map(names)) for action, arn in actions]
