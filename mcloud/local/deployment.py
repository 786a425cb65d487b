"""The embedded provisioner, which creates the stack's resources by SDK calls in one or two seconds.

It creates the same resources as ``terraform/`` on real clouds, as far as the embedded ones support
them. It can be run again at any time: existing resources stay, and the functions get the current
bundle.
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.client import translated as aws_errors
from mcloud.clouds.gcp import client as gcp_client
from mcloud.clouds.gcp.client import translated as gcp_errors
from mcloud.clouds.resources import AwsResources, GcpResources, functions_of
from mcloud.infra.bundle import build
from mcloud.market.staged import LARGEST, WINDOW
from mcloud.market.staged import PREFIX as STAGED

PREFIX = "mcloud"
SCHEDULED_FUNCTIONS = ",".join(functions_of(f"{PREFIX}-processor")[1:])
REGION = "us-east-1"
ACCOUNT = "000000000000"
PROJECT = "mcloud-local"
GCP_REGION = "us-central1"

# Time after a failed call until its messages are delivered again, and finally become dead letters.
# On real clouds it is minutes, but an operator does not want to wait for them. A message that
# cannot be processed becomes a dead letter within half a minute; a valid one survives a minute
# without its stores. A call may take longer: its messages stay hidden meanwhile (see
# ``mcloud.local.aws.mapping``).
VISIBILITY = 8  # seconds
TIMEOUT = 60  # seconds; as in terraform/aws, since a busy laptop may need almost as long
RECEIVES = 5
BACKOFF, LONGEST_BACKOFF = 0.1, 4  # seconds
DELIVERIES = 10
BATCH = 10
ACK_DEADLINE = 30  # seconds
HEARTBEAT_SECONDS = os.environ.get("HEARTBEAT_SECONDS", "0")
"""Seconds between two heartbeats of the functions. By default each message is seen at once."""


@dataclass(frozen=True)
class StackPart:
    """A resource of the stack, with its address in ``terraform/``."""

    address: str
    name: str
    there: bool
    stale: bool = False
    """Whether a function runs code that differs from this mcloud's."""

    @property
    def kind(self) -> str:
        return self.address.partition(".")[0]


def aws_resources(endpoint_url: str) -> AwsResources:
    """Return the names of the AWS resources on the embedded AWS at ``endpoint_url``."""
    return AwsResources(
        region=REGION,
        queue_url=f"{endpoint_url}/{ACCOUNT}/{PREFIX}-trades",
        dlq_url=f"{endpoint_url}/{ACCOUNT}/{PREFIX}-trades-dlq",
        candles_table=f"{PREFIX}-candles",
        control_table=f"{PREFIX}-control",
        raw_bucket=f"{PREFIX}-raw-{ACCOUNT}",
        function=f"{PREFIX}-processor",
        scheduled_functions=SCHEDULED_FUNCTIONS,
        staging_bucket=f"{PREFIX}-staging-{ACCOUNT}",
        delivery_stream=f"{PREFIX}-trades",
        endpoint_url=endpoint_url,
    )


def deploy_aws(to: AwsResources) -> None:
    """Create or complete the AWS resources.

    Embedded clouds that an earlier release started have no delivery stream. There the function
    writes the raw archive itself.
    """
    with aws_errors("the embedded AWS"):
        _deploy_aws(to)


def aws_parts(to: AwsResources) -> list[StackPart]:
    """Return the parts of the AWS site, with whether each exists."""
    with aws_errors("the embedded AWS"):
        queues = _aws(to, "sqs").list_queues().get("QueueUrls", [])
        tables = _aws(to, "dynamodb").list_tables()["TableNames"]
        buckets = [each["Name"] for each in _aws(to, "s3").list_buckets()["Buckets"]]
        lambda_ = _aws(to, "lambda")
        functions = {
            each["FunctionName"]: each["CodeSha256"]
            for each in lambda_.list_functions()["Functions"]
        }
        streams = _aws(to, "firehose").list_delivery_streams(Limit=100)["DeliveryStreamNames"]
    ours = base64.b64encode(hashlib.sha256(build("aws")).digest()).decode()
    code = functions.get(to.function)
    return [
        *(
            StackPart(f"aws_sqs_queue.{name}", url.rpartition("/")[2], url in queues)
            for name, url in (("trades", to.queue_url), ("dlq", to.dlq_url))
        ),
        *(
            StackPart(f"aws_dynamodb_table.{name}", table, table in tables)
            for name, table in (("candles", to.candles_table), ("control", to.control_table))
        ),
        *(
            StackPart(f"aws_s3_bucket.{name}", bucket, bucket in buckets)
            for name, bucket in _buckets(to)
        ),
        *(
            StackPart(f"aws_kinesis_firehose_delivery_stream.{name}", stream, stream in streams)
            for name, stream in _named(("trades", to.delivery_stream))
        ),
        StackPart(
            "aws_lambda_function.processor", to.function, code is not None, code not in (None, ours)
        ),
    ]


def destroy_aws(to: AwsResources) -> None:
    """Delete the AWS resources with their data. Missing resources are skipped."""
    there = {part.address for part in aws_parts(to) if part.there}
    with aws_errors("the embedded AWS"):
        lambda_, dynamodb, s3, sqs = (
            _aws(to, each) for each in ("lambda", "dynamodb", "s3", "sqs")
        )
        if "aws_lambda_function.processor" in there:
            mappings = lambda_.list_event_source_mappings(FunctionName=to.function)
            for mapping in mappings["EventSourceMappings"]:
                lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
            lambda_.delete_function(FunctionName=to.function)
        for name, url in (("trades", to.queue_url), ("dlq", to.dlq_url)):
            if f"aws_sqs_queue.{name}" in there:
                sqs.delete_queue(QueueUrl=url)
        for name, table in (("candles", to.candles_table), ("control", to.control_table)):
            if f"aws_dynamodb_table.{name}" in there:
                dynamodb.delete_table(TableName=table)
        if "aws_kinesis_firehose_delivery_stream.trades" in there:
            firehose = _aws(to, "firehose")
            firehose.delete_delivery_stream(DeliveryStreamName=to.delivery_stream)
        for name, bucket in _buckets(to):
            if f"aws_s3_bucket.{name}" in there:
                for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                    for each in page.get("Contents", ()):
                        s3.delete_object(Bucket=bucket, Key=each["Key"])
                s3.delete_bucket(Bucket=bucket)


def gcp_parts(to: GcpResources) -> list[StackPart]:
    """Return the parts of the Google Cloud site, with whether each exists.

    The function is not included, because the supervisor runs it.
    """
    with gcp_errors("the embedded Google Cloud"):
        publisher = gcp_client.make_publisher(to.pubsub_endpoint)
        subscriber = gcp_client.make_subscriber(to.pubsub_endpoint)
        project = f"projects/{to.project}"
        topics = {each.name.rpartition("/")[2] for each in publisher.list_topics(project=project)}
        subscriptions = {
            each.name.rpartition("/")[2] for each in subscriber.list_subscriptions(project=project)
        }
        buckets = {each.name for each in _storage(to).list_buckets()}
        documents = any(True for each in _collections(to) for _ in each.limit(1).stream())
    return [
        StackPart("google_pubsub_topic.trades", to.topic, to.topic in topics),
        StackPart("google_pubsub_topic.dlq", to.dlq_topic, to.dlq_topic in topics),
        *(
            StackPart(f"google_pubsub_subscription.{name}", full, full in subscriptions)
            for name, full in _gcp_subscriptions(to)
        ),
        *(
            StackPart(f"google_storage_bucket.{name}", bucket, bucket in buckets)
            for name, bucket in _buckets(to)
        ),
        # The database itself always exists; it is listed only if it contains documents.
        *([StackPart("google_firestore_database.this", to.database, True)] if documents else []),
    ]


def destroy_gcp(to: GcpResources) -> None:
    """Delete the existing resources of the Google Cloud site, with their data."""
    there = {part.address for part in gcp_parts(to) if part.there}
    with gcp_errors("the embedded Google Cloud"):
        publisher = gcp_client.make_publisher(to.pubsub_endpoint)
        subscriber = gcp_client.make_subscriber(to.pubsub_endpoint)
        for name, full in _gcp_subscriptions(to):
            if f"google_pubsub_subscription.{name}" in there:
                subscriber.delete_subscription(
                    subscription=f"projects/{to.project}/subscriptions/{full}"
                )
        for name, full in (("trades", to.topic), ("dlq", to.dlq_topic)):
            if f"google_pubsub_topic.{name}" in there:
                publisher.delete_topic(topic=f"projects/{to.project}/topics/{full}")
        for name, full in _buckets(to):
            if f"google_storage_bucket.{name}" in there:
                bucket = _storage(to).bucket(full)
                for blob in bucket.list_blobs():
                    blob.delete()
                bucket.delete()
        for collection in _collections(to):
            for document in collection.list_documents():
                document.delete()


def gcp_resources(
    *,
    pubsub: str,
    firestore: str,
    monitoring: str,
    storage: str,
    function_url: str,
    function_log: str = "",
) -> GcpResources:
    """Return the names of the Google Cloud resources, with the endpoints of the embedded
    services.
    """
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
        scheduled_functions=SCHEDULED_FUNCTIONS,
        staging_bucket=f"{PREFIX}-staging-{PROJECT}",
        export_subscription=f"{PREFIX}-trades-export",
        pubsub_endpoint=pubsub,
        firestore_endpoint=firestore,
        monitoring_endpoint=monitoring,
        storage_endpoint=storage,
        function_url=function_url,
        function_log=function_log,
    )


def function_environment(to: GcpResources, exported_since: str = "") -> dict[str, str]:
    """Return the environment of the embedded Cloud Functions.

    Args:
        exported_since: time since when the export subscription has all messages; empty if it had
            them from the beginning.
    """
    return {
        "GOOGLE_CLOUD_PROJECT": to.project,
        "RAW_BUCKET": to.raw_bucket,
        "STAGING_BUCKET": to.staging_bucket,
        "EXPORTED_SINCE": exported_since,
        "FIRESTORE_DATABASE": to.database,
        "CANDLES_COLLECTION": to.candles_collection,
        "CONTROL_COLLECTION": to.control_collection,
        "HEARTBEAT_SECONDS": HEARTBEAT_SECONDS,
        "TIMEOUT_SECONDS": "60",
        # the number of concurrent requests that terraform/gcp allows for an instance
        "THREADS": "8",
        "FIRESTORE_EMULATOR_HOST": to.firestore_endpoint,
        "STORAGE_EMULATOR_HOST": to.storage_endpoint,
    }


def deploy_gcp(to: GcpResources) -> None:
    """Create or complete the Google Cloud resources. The function is already running (see
    ``mcloud.local``).

    Embedded clouds that an earlier release started have no export subscription. There the function
    writes the raw archive itself.
    """
    with gcp_errors("the embedded Google Cloud"):
        storage = _storage(to)
        for _, bucket in _buckets(to):
            _unless_there(partial(storage.create_bucket, bucket))
        _deploy_pubsub(to)


def _aws(to: AwsResources, service: str) -> Any:
    return make_client(service, to.region, to.endpoint_url)


def _storage(to: GcpResources) -> Any:
    return gcp_client.make_storage(to.project, to.storage_endpoint)


def _collections(to: GcpResources) -> list[Any]:
    firestore = gcp_client.make_firestore(to.project, to.database, to.firestore_endpoint)
    return [firestore.collection(name) for name in (to.candles_collection, to.control_collection)]


def _deploy_aws(to: AwsResources) -> None:
    _deploy_queues(_aws(to, "sqs"))
    dynamodb = _aws(to, "dynamodb")
    deploy_table(dynamodb, to.candles_table, "symbol", "timestamp", streamed=True)
    deploy_table(dynamodb, to.control_table, "kind", "key", streamed=False)
    for _, bucket in _buckets(to):
        _deploy_bucket(_aws(to, "s3"), bucket)
    if to.delivery_stream:
        _deploy_stream(_aws(to, "firehose"), to)
    _deploy_lambda(_aws(to, "lambda"), to)


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


def _deploy_stream(firehose: Any, to: AwsResources) -> None:
    try:
        firehose.create_delivery_stream(
            DeliveryStreamName=to.delivery_stream,
            ExtendedS3DestinationConfiguration={
                "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/{to.delivery_stream}-delivery",
                "BucketARN": f"arn:aws:s3:::{to.staging_bucket}",
                "Prefix": STAGED + "!{timestamp:yyyy/MM/dd/HH/}",
                "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
                # as in terraform/aws; the embedded Firehose does not wait that long
                "BufferingHints": {
                    "IntervalInSeconds": int(WINDOW),
                    "SizeInMBs": LARGEST // 1024**2,
                },
            },
        )
    except firehose.exceptions.ResourceInUseException:
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
    variables = {
        **(
            {"DELIVERY_STREAM": to.delivery_stream}
            if to.delivery_stream
            else {"RAW_BUCKET": to.raw_bucket}
        ),
        "CANDLES_TABLE": to.candles_table,
        "CONTROL_TABLE": to.control_table,
        "HEARTBEAT_SECONDS": HEARTBEAT_SECONDS,
    }
    try:
        lambda_.create_function(
            FunctionName=to.function,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-processor",
            Handler="processor.handler",
            Code={"ZipFile": code},
            Timeout=TIMEOUT,
            MemorySize=512,  # as in terraform/aws
            Environment={"Variables": variables},
        )
    except lambda_.exceptions.ResourceConflictException:
        # The code comes first: it understands the variables of the release before.
        lambda_.update_function_code(FunctionName=to.function, ZipFile=code)
        lambda_.update_function_configuration(
            FunctionName=to.function, Timeout=TIMEOUT, Environment={"Variables": variables}
        )
    # AWS updates the function for a moment after either call. The SDK's own waiter checks only once
    # per second.
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
    # The default retry policy of the clients lasts ten minutes.
    patience = {"retry": gcp_client.retry(), "timeout": gcp_client.TIMEOUT}
    topic = f"projects/{to.project}/topics/{to.topic}"
    dlq_topic = f"projects/{to.project}/topics/{to.dlq_topic}"
    for name in (topic, dlq_topic):
        _unless_there(partial(publisher.create_topic, name=name, **patience))
    dlq = {
        "name": f"projects/{to.project}/subscriptions/{to.dlq_subscription}",
        "topic": dlq_topic,
        "ack_deadline_seconds": 60,
    }
    _unless_there(lambda: subscriber.create_subscription(request=dlq, **patience))
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
    # Before the subscription of the function, so that each message that it gets is exported.
    if to.export_subscription:
        _deploy_export(to, subscriber, topic, patience)
    _unless_there(lambda: subscriber.create_subscription(request=subscription, **patience))
    # A restarted function may listen on another port.
    subscriber.modify_push_config(
        subscription=subscription["name"], push_config=subscription["push_config"], **patience
    )


def _deploy_export(to: GcpResources, subscriber: Any, topic: str, patience: Any) -> None:
    from google.pubsub_v1.types import CloudStorageConfig

    export = {
        "name": f"projects/{to.project}/subscriptions/{to.export_subscription}",
        "topic": topic,
        "ack_deadline_seconds": 600,
        "cloud_storage_config": CloudStorageConfig.from_json(json.dumps(export_config(to))),
    }
    _unless_there(lambda: subscriber.create_subscription(request=export, **patience))


def export_config(to: GcpResources) -> dict[str, str]:
    """Return the settings of the export subscription, in the JSON of Google's API."""
    return {
        "bucket": to.staging_bucket,
        "filename_prefix": STAGED,
        # as in terraform/gcp; the embedded Pub/Sub does not wait that long
        "filename_datetime_format": "YYYY/MM/DD/hh/mm_ss",
        "max_duration": f"{WINDOW:.0f}s",
        "max_bytes": str(LARGEST),
    }


def _buckets(to: AwsResources | GcpResources) -> list[tuple[str, str]]:
    """Return the buckets by their names in ``terraform/``."""
    return _named(("raw", to.raw_bucket), ("staging", to.staging_bucket))


def _gcp_subscriptions(to: GcpResources) -> list[tuple[str, str]]:
    """Return the subscriptions by their names in ``terraform/gcp``."""
    return _named(
        ("processor", to.subscription),
        ("export", to.export_subscription),
        ("dlq", to.dlq_subscription),
    )


def _named(*resources: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the resources that the embedded clouds have."""
    return [(name, full) for name, full in resources if full]


def _unless_there(create: Callable[[], object]) -> None:
    from google.api_core.exceptions import Conflict

    try:
        create()
    except Conflict:
        return


def _arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
