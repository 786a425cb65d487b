"""The embedded provisioner: the stack's resources by SDK calls, in a second or two.

It makes what ``terraform/`` makes on real clouds, as far as the embedded ones have it, and can be
run again at any time: what is there stays, and the functions get the current bundle.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.client import translated as aws_errors
from mcloud.clouds.gcp import client as gcp_client
from mcloud.clouds.gcp.client import translated as gcp_errors
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.infra.bundle import build

PREFIX = "mcloud"
REGION = "us-east-1"
ACCOUNT = "000000000000"
PROJECT = "mcloud-local"
GCP_REGION = "us-central1"

# How long the processor may take, or be away, before its messages come back and in the end are
# dead letters: longer than a busy laptop needs, shorter than an operator wants to watch. On real
# clouds these are minutes.
VISIBILITY = 8  # seconds
RECEIVES = 3
BACKOFF, LONGEST_BACKOFF = 0.1, 4  # seconds
DELIVERIES = 10
BATCH = 10
ACK_DEADLINE = 30  # seconds


def deploy_aws(endpoint_url: str) -> AwsResources:
    """Make or complete the AWS side on the embedded AWS at ``endpoint_url``."""
    with aws_errors("the embedded AWS"):
        return _deploy_aws(endpoint_url)


def gcp_resources(
    *, pubsub: str, firestore: str, monitoring: str, storage: str, function_url: str
) -> GcpResources:
    """The names of the Google side; the endpoints are those of the embedded services."""
    return GcpResources(
        project=PROJECT,
        region=GCP_REGION,
        topic=f"{PREFIX}-trades",
        subscription=f"{PREFIX}-trades-processor",
        dlq_topic=f"{PREFIX}-trades-dlq",
        dlq_subscription=f"{PREFIX}-trades-dlq",
        database="(default)",
        candles_collection="candles",
        control_collection="control",
        raw_bucket=f"{PREFIX}-raw-{PROJECT}",
        function=f"{PREFIX}-processor",
        pubsub_endpoint=pubsub,
        firestore_endpoint=firestore,
        monitoring_endpoint=monitoring,
        storage_endpoint=storage,
        function_url=function_url,
    )


def function_environment(to: GcpResources) -> dict[str, str]:
    """The environment of the embedded Cloud Function."""
    return {
        "GOOGLE_CLOUD_PROJECT": to.project,
        "RAW_BUCKET": to.raw_bucket,
        "FIRESTORE_DATABASE": to.database,
        "CANDLES_COLLECTION": to.candles_collection,
        "CONTROL_COLLECTION": to.control_collection,
        "HEARTBEAT_SECONDS": "0",
        "FIRESTORE_EMULATOR_HOST": to.firestore_endpoint,
        "STORAGE_EMULATOR_HOST": to.storage_endpoint,
    }


def deploy_gcp(to: GcpResources) -> None:
    """Make or complete the Google side; the function runs already (see ``mcloud.local``)."""
    with gcp_errors("the embedded Google Cloud"):
        _deploy_pubsub(to)
        storage = gcp_client.make_storage(to.project, to.storage_endpoint)
        _unless_there(lambda: storage.create_bucket(to.raw_bucket))


def _deploy_aws(endpoint_url: str) -> AwsResources:
    def client(service: str) -> Any:
        return make_client(service, REGION, endpoint_url)

    to = AwsResources(
        region=REGION,
        queue_url=f"{endpoint_url}/{ACCOUNT}/{PREFIX}-trades",
        dlq_url=f"{endpoint_url}/{ACCOUNT}/{PREFIX}-trades-dlq",
        candles_table=f"{PREFIX}-candles",
        control_table=f"{PREFIX}-control",
        raw_bucket=f"{PREFIX}-raw-{ACCOUNT}",
        function=f"{PREFIX}-processor",
        endpoint_url=endpoint_url,
    )
    _deploy_queues(client("sqs"))
    dynamodb = client("dynamodb")
    deploy_table(dynamodb, to.candles_table, "symbol", "timestamp", streamed=True)
    deploy_table(dynamodb, to.control_table, "kind", "key", streamed=False)
    _deploy_bucket(client("s3"), to.raw_bucket)
    _deploy_lambda(client("lambda"), to)
    return to


def _deploy_queues(sqs: Any) -> None:
    retention = str(14 * 24 * 3600)
    sqs.create_queue(
        QueueName=f"{PREFIX}-trades-dlq", Attributes={"MessageRetentionPeriod": retention}
    )
    redrive = {"deadLetterTargetArn": _arn("sqs", f"{PREFIX}-trades-dlq")}
    queue = sqs.create_queue(QueueName=f"{PREFIX}-trades")["QueueUrl"]
    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={
            "VisibilityTimeout": str(VISIBILITY),
            "MessageRetentionPeriod": retention,
            "RedrivePolicy": json.dumps({**redrive, "maxReceiveCount": str(RECEIVES)}),
        },
    )


def _deploy_bucket(s3: Any, name: str) -> None:
    try:
        s3.create_bucket(Bucket=name)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        return


def deploy_table(dynamodb: Any, name: str, hash_: str, range_: str, *, streamed: bool) -> None:
    try:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": hash_, "KeyType": "HASH"},
                {"AttributeName": range_, "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": attribute, "AttributeType": "S"} for attribute in (hash_, range_)
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=(
                {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
                if streamed
                else {"StreamEnabled": False}
            ),
        )
    except dynamodb.exceptions.ResourceInUseException:
        return


def _deploy_lambda(lambda_: Any, to: AwsResources) -> None:
    code = build("aws")
    try:
        lambda_.create_function(
            FunctionName=to.function,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-processor",
            Handler="processor.handler",
            Code={"ZipFile": code},
            Timeout=VISIBILITY,
            MemorySize=256,
            Environment={
                "Variables": {
                    "RAW_BUCKET": to.raw_bucket,
                    "CANDLES_TABLE": to.candles_table,
                    "CONTROL_TABLE": to.control_table,
                    "HEARTBEAT_SECONDS": "0",
                }
            },
        )
    except lambda_.exceptions.ResourceConflictException:
        lambda_.update_function_code(FunctionName=to.function, ZipFile=code)
    # AWS works on it for a moment after either call. The SDK's own waiter looks once a second.
    while lambda_.get_function_configuration(FunctionName=to.function)["State"] == "Pending":
        time.sleep(0.02)
    source = _arn("sqs", f"{PREFIX}-trades")
    mappings = lambda_.list_event_source_mappings(FunctionName=to.function, EventSourceArn=source)
    if not mappings["EventSourceMappings"]:
        lambda_.create_event_source_mapping(
            FunctionName=to.function,
            EventSourceArn=source,
            BatchSize=BATCH,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )


def _deploy_pubsub(to: GcpResources) -> None:
    publisher = gcp_client.make_publisher(to.pubsub_endpoint)
    subscriber = gcp_client.make_subscriber(to.pubsub_endpoint)
    topic = f"projects/{to.project}/topics/{to.topic}"
    dlq_topic = f"projects/{to.project}/topics/{to.dlq_topic}"
    for name in (topic, dlq_topic):
        _unless_there(partial(publisher.create_topic, name=name))
    dlq = {
        "name": f"projects/{to.project}/subscriptions/{to.dlq_subscription}",
        "topic": dlq_topic,
        "ack_deadline_seconds": 60,
    }
    _unless_there(lambda: subscriber.create_subscription(request=dlq))
    subscription = {
        "name": f"projects/{to.project}/subscriptions/{to.subscription}",
        "topic": topic,
        "ack_deadline_seconds": ACK_DEADLINE,
        "push_config": {"push_endpoint": to.function_url},
        "labels": {"function": to.function},
        "retry_policy": {
            "minimum_backoff": {"nanos": int(BACKOFF * 1e9)},
            "maximum_backoff": {"seconds": LONGEST_BACKOFF},
        },
        "dead_letter_policy": {
            "dead_letter_topic": dlq_topic,
            "max_delivery_attempts": DELIVERIES,
        },
    }
    _unless_there(lambda: subscriber.create_subscription(request=subscription))
    # A function that was started again may listen on another port.
    subscriber.modify_push_config(
        subscription=subscription["name"], push_config=subscription["push_config"]
    )


def _unless_there(create: Callable[[], object]) -> None:
    from google.api_core.exceptions import Conflict

    try:
        create()
    except Conflict:
        return


def _arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
