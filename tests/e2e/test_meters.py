"""The meters of the embedded clouds equal an independent count of the requests."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, PreconditionFailed, ServiceUnavailable
from google.cloud.firestore_v1.base_query import FieldFilter
from patience import PATIENCE, eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import client as gcp
from mcloud.clouds.ports import Heartbeat
from mcloud.clouds.resources import AwsResources
from mcloud.cost import calls
from mcloud.feed.simulate import Simulate
from mcloud.local import meter, outage
from mcloud.local.deployment import deploy_table
from mcloud.local.meter import Count
from mcloud.local.state import State
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade

NAME = f"meters-{os.getpid()}"


@pytest.fixture
def home(embedded: State) -> Iterator[Path]:
    folder = Path(embedded.options["home"])
    yield folder
    outage.end(folder)


def settles(home: Path, site: str, resource: str, expected: dict[str, Count]) -> None:
    """Wait until the meters, which are written once a second, have the expected values."""
    deadline = time.monotonic() + PATIENCE
    while counted(home, site, resource) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    assert counted(home, site, resource) == expected


def counted(home: Path, site: str, *resources: str) -> dict[str, Count]:
    """Return the sums of the meters of some resources."""
    found = {}
    for name, split in meter.read_split(home)[site].items():
        mine = [split[each] for each in resources if each in split]
        if mine:
            found[name] = sum(mine)
    return found


def test_calls_of_sqs_are_metered(embedded: State, home: Path) -> None:
    name = f"sqs-{NAME}"
    to = embedded.outputs["aws"]
    sqs = make_client("sqs", to["region"], to["endpoint_url"])
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for n in range(7):
        sqs.send_message(QueueUrl=url, MessageBody=f"{n}")  # 1 each
    entries = [{"Id": str(n), "MessageBody": "x" * 50_000} for n in range(4)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)  # 200,000 bytes: 4 chunks
    outage.begin(home, "aws", "queue", "refuse", None)
    for _ in range(2):
        with pytest.raises(sqs.exceptions.ClientError):
            _once("sqs", to).send_message(QueueUrl=url, MessageBody="refused")
    outage.end(home)
    sqs.get_queue_attributes(QueueUrl=url)  # 1
    taken = [
        message
        for _ in range(11)
        for message in sqs.receive_message(QueueUrl=url).get("Messages", ())
    ]  # 1 each
    assert len(taken) == 11
    for message in taken:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])  # 1 each
    settles(home, "aws", name, {"sqs_requests": 7 + 4 + 1 + 11 + 11})


def test_calls_of_dynamodb_are_metered(embedded: State, home: Path) -> None:
    name = f"dynamodb-{NAME}"
    to = embedded.outputs["aws"]
    dynamodb = make_client("dynamodb", to["region"], to["endpoint_url"])
    streams = make_client("dynamodbstreams", to["region"], to["endpoint_url"])
    deploy_table(dynamodb, name, "symbol", "timestamp", streamed=True)

    def item(n: int, size: int) -> dict[str, Any]:
        """Return an item of ``size`` bytes by DynamoDB's rules, with names and values."""
        key = {"symbol": {"S": "A"}, "timestamp": {"S": f"{n:05}"}}
        return {**key, "v": {"S": "x" * (size - len("symbolAtimestamp") - 5 - 1)}}

    def key(n: int) -> dict[str, Any]:
        return {"symbol": {"S": "A"}, "timestamp": {"S": f"{n:05}"}}

    writes, reads = 0, 0.0
    for n, (size, units) in enumerate([(100, 1), (1024, 1), (1025, 2), (10_000, 10)]):
        dynamodb.put_item(TableName=name, Item=item(n, size))
        writes += units
    dynamodb.put_item(TableName=name, Item=item(3, 100))  # the size of the old item counts
    writes += 10
    dynamodb.put_item(TableName=name, Item=item(3, 10_000))
    writes += 10
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(
            TableName=name, Item=item(3, 50), ConditionExpression="attribute_not_exists(symbol)"
        )
    writes += 10
    dynamodb.update_item(
        TableName=name,
        Key=key(0),
        UpdateExpression="SET w = :w",
        ExpressionAttributeValues={":w": {"S": "x" * 2000}},
    )
    writes += 3  # 2,101 bytes
    for consistent, units in ((False, 0.5), (True, 1)):
        dynamodb.get_item(TableName=name, Key=key(1), ConsistentRead=consistent)
        dynamodb.get_item(TableName=name, Key=key(3), ConsistentRead=consistent)  # 3 times 4 KB
        dynamodb.get_item(TableName=name, Key=key(99), ConsistentRead=consistent)  # a missing item
        reads += units * (1 + 3 + 1)
    query = {
        "KeyConditionExpression": "symbol = :s",
        "ExpressionAttributeValues": {":s": {"S": "A"}},
    }
    everything = 2_101 + 1024 + 1025 + 10_000  # bytes: 4 times 4 KB
    assert everything // 4096 == 3
    dynamodb.query(TableName=name, **query)
    reads += 0.5 * 4
    dynamodb.query(TableName=name, Select="COUNT", ConsistentRead=True, **query)
    reads += 4
    dynamodb.query(
        TableName=name,
        KeyConditionExpression="symbol = :s",
        FilterExpression="begins_with(#t, :none)",
        ExpressionAttributeNames={"#t": "v"},
        ExpressionAttributeValues={":s": {"S": "A"}, ":none": {"S": "none"}},
    )
    reads += 0.5 * 4
    dynamodb.scan(TableName=name)
    reads += 0.5 * 4
    requests = [{"PutRequest": {"Item": item(n, 2000)}} for n in (10, 11)]
    dynamodb.batch_write_item(RequestItems={name: requests})
    writes += 2 * 2
    dynamodb.batch_get_item(RequestItems={name: {"Keys": [key(3), key(10)]}})
    reads += 0.5 * (3 + 1)
    dynamodb.transact_write_items(
        TransactItems=[{"Put": {"TableName": name, "Item": item(20, 1025)}}]
    )
    writes += 2 * 2
    dynamodb.transact_get_items(TransactItems=[{"Get": {"TableName": name, "Key": key(20)}}])
    reads += 2
    dynamodb.delete_item(TableName=name, Key=key(3))
    writes += 10
    expected = {"dynamodb_writes": writes, "dynamodb_reads": reads}
    settles(home, "aws", name, expected)

    cloudwatch = make_client("cloudwatch", to["region"], to["endpoint_url"])

    def consumed(metric: str) -> float:
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/DynamoDB",
            MetricName=metric,
            Dimensions=[{"Name": "TableName", "Value": name}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    eventually(lambda: consumed("ConsumedWriteCapacityUnits") == writes, pause=0.2)
    eventually(lambda: consumed("ConsumedReadCapacityUnits") == reads, pause=0.2)

    before = counted(home, "aws", "").get("dynamodb_stream_reads", 0)
    stream = dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]
    place = streams.get_shard_iterator(
        StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    for _ in range(3):
        streams.get_records(ShardIterator=place["ShardIterator"])
    eventually(
        lambda: counted(home, "aws", "").get("dynamodb_stream_reads") == before + 3, pause=0.1
    )


def test_calls_of_s3_are_metered(embedded: State, home: Path) -> None:
    name = f"s3-{NAME}"
    to = embedded.outputs["aws"]
    s3 = make_client("s3", to["region"], to["endpoint_url"])
    s3.create_bucket(Bucket=name)
    for n in range(5):
        s3.put_object(Bucket=name, Key=f"raw/{n}", Body=b"x")
        s3.get_object(Bucket=name, Key=f"raw/{n}")["Body"].read()
    s3.head_object(Bucket=name, Key="raw/0")
    s3.list_objects_v2(Bucket=name)
    s3.delete_object(Bucket=name, Key="raw/0")  # free
    settles(home, "aws", name, {"s3_puts": 1 + 5 + 1, "s3_gets": 5 + 1})


def test_calls_of_pubsub_are_metered(embedded: State, home: Path) -> None:
    name = f"pubsub-{NAME}"
    to = embedded.outputs["gcp"]
    publisher = gcp.make_publisher(to["pubsub_endpoint"])
    subscriber = gcp.make_subscriber(to["pubsub_endpoint"])
    topic = f"projects/{to['project']}/topics/{name}"
    subscription = f"projects/{to['project']}/subscriptions/{name}-s"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic)
    published = 0
    for _ in range(4):
        publisher.publish(topic=topic, messages=[{"data": b"x"}])
        published += 1000  # at least
    attributes = {"symbol": "BTCUSDT"}
    answer = publisher.publish(
        topic=topic, messages=[{"data": b"x" * 3000, "attributes": attributes}] * 2
    )
    overhead = len("symbolBTCUSDT") + len(answer.message_ids[0]) + 20
    published += 2 * (3000 + overhead)
    outage.begin(home, "gcp", "queue", "refuse", None)
    with pytest.raises(ServiceUnavailable):
        publisher.publish(topic=topic, messages=[{"data": b"x"}], retry=None)
    outage.end(home)
    got = subscriber.pull(subscription=subscription, max_messages=10).received_messages
    assert len(got) == 6
    small = sum(
        20 + 1 + len(each.message.message_id) for each in got if not each.message.attributes
    )
    pulled = small + 2 * (3000 + overhead)
    subscriber.acknowledge(subscription=subscription, ack_ids=[each.ack_id for each in got])
    settles(home, "gcp", name, {"pubsub_bytes": published})
    settles(home, "gcp", f"{name}-s", {"pubsub_bytes": pulled})


def test_calls_of_firestore_are_metered(embedded: State, home: Path) -> None:
    name = f"firestore-{NAME}"
    to = embedded.outputs["gcp"]
    firestore = gcp.make_firestore(to["project"], to["database"], to["firestore_endpoint"])
    collection = firestore.collection(name)
    for n in range(5):
        collection.document(f"{n}").set({"n": n})
    with pytest.raises(AlreadyExists):
        collection.document("0").create({"n": 0})  # refused, so it is not written
    batch = firestore.batch()
    for n in range(5, 8):
        batch.set(collection.document(f"{n}"), {"n": n})
    batch.delete(collection.document("4"))
    batch.commit()
    assert collection.document("0").get().exists
    assert not collection.document("none").get().exists  # is a read as well
    assert len(list(firestore.get_all([collection.document(f"{n}") for n in range(3)]))) == 3
    assert len(list(collection.stream())) == 7
    assert (
        list(collection.where(filter=FieldFilter("n", ">", 100)).stream()) == []
    )  # is a read as well
    expected = {
        "firestore_writes": 5 + 3,
        "firestore_deletes": 1,
        "firestore_reads": 1 + 1 + 3 + 7 + 1,
    }
    settles(home, "gcp", name, expected)


def test_calls_of_cloud_storage_are_metered(embedded: State, home: Path) -> None:
    name = f"cloud-storage-{NAME}"
    to = embedded.outputs["gcp"]
    bucket = gcp.make_storage(to["project"], to["storage_endpoint"]).create_bucket(name)
    for n in range(4):
        bucket.blob(f"raw/{n}").upload_from_string(b"x")
        assert bucket.blob(f"raw/{n}").download_as_bytes(raw_download=True) == b"x"
    with pytest.raises(PreconditionFailed):  # an answer of 412 is free
        bucket.blob("raw/0").upload_from_string(b"y", if_generation_match=0)
    bucket.blob("raw/1").reload()
    assert len(list(bucket.list_blobs())) == 4
    bucket.blob("raw/0").delete()  # free
    expected = {"gcs_class_a": 4 + 1, "gcs_class_b": 4 + 1}
    settles(home, "gcp", name, expected)


def test_the_billed_units_of_a_message(embedded: State, home: Path) -> None:
    """A message through the function takes one call, a receive and a delete, and one delivery."""
    aws, google = embedded.outputs["aws"], embedded.outputs["gcp"]
    sqs = make_client("sqs", aws["region"], aws["endpoint_url"])
    publisher = gcp.make_publisher(google["pubsub_endpoint"])
    project = f"projects/{google['project']}"
    topic = f"{project}/topics/{google['topic']}"
    # When nothing is in transit and these are written, everything before them is written too.
    for name, resources in embedded.resources().items():
        queue = open_site(name, resources).queue
        eventually(lambda queue=queue: not queue.depth().ready and not queue.depth().in_flight)
    mark = f"mark-{NAME}"
    sqs.get_queue_attributes(QueueUrl=sqs.create_queue(QueueName=mark)["QueueUrl"])
    publisher.create_topic(name=f"{project}/topics/{mark}")
    publisher.publish(topic=f"{project}/topics/{mark}", messages=[{"data": b"x"}])
    settles(home, "aws", mark, {"sqs_requests": 1})
    settles(home, "gcp", mark, {"pubsub_bytes": 1000})
    before = meter.read_split(home)

    message = encode(list(Simulate([f"M{os.getpid()}USDT"], seed=1, start_time=0, count=10)))
    values = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in message.attributes.items()
    }
    sqs.send_message(QueueUrl=aws["queue_url"], MessageBody=message.body, MessageAttributes=values)
    publisher.publish(
        topic=topic, messages=[{"data": message.body.encode(), "attributes": message.attributes}]
    )

    def since(site: str, name: str, resource: str) -> Count:
        now = meter.read_split(home)[site].get(name, {}).get(resource, 0)
        return now - before[site].get(name, {}).get(resource, 0)

    queue_name = aws["queue_url"].rpartition("/")[2]
    eventually(lambda: since("aws", "sqs_requests", queue_name) == 3, pause=0.1)
    assert since("aws", "lambda_requests", aws["function"]) == 1
    assert since("aws", "firehose_bytes", aws["delivery_stream"]) == 5 * 1024
    eventually(lambda: since("aws", "s3_puts", aws["staging_bucket"]) == 1, pause=0.1)
    assert since("aws", "s3_puts", aws["raw_bucket"]) == 0
    assert since("aws", "lambda_gb_s", aws["function"]) > 0
    eventually(lambda: since("gcp", "function_requests", "") == 1, pause=0.1)
    eventually(lambda: since("gcp", "gcs_class_a", google["staging_bucket"]) == 1, pause=0.1)
    assert since("gcp", "gcs_class_a", google["raw_bucket"]) == 0
    exported = since("gcp", "pubsub_export_bytes", google["export_subscription"])
    assert len(message.body) < exported < 1000
    assert since("gcp", "function_vcpu_s", "") > 0
    assert since("gcp", "pubsub_bytes", google["topic"]) == 1000
    assert since("gcp", "pubsub_bytes", google["subscription"]) == 1000


def _once(service: str, to: dict[str, str]) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        region_name=to["region"],
        endpoint_url=to["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_table_of_call_costs_equals_the_meters(embedded: State, home: Path, cloud: str) -> None:
    """Each call is made several times on its own stores, and compared with ``cost.calls``."""
    candles, control = f"candles-{NAME}", f"control-{NAME}"
    resources = embedded.resources()[cloud]
    if isinstance(resources, AwsResources):
        to = replace(resources, candles_table=candles, control_table=control)
        dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
        deploy_table(dynamodb, candles, "symbol", "timestamp", streamed=True)
        deploy_table(dynamodb, control, "kind", "key", streamed=False)
        site = open_site(cloud, to)
    else:
        names = {"candles_collection": candles, "control_collection": control}
        site = open_site(cloud, replace(resources, **names))
    new = [fold(Candle("BTCUSDT", n * MINUTE), apart(n * MINUTE, 38)).candle for n in range(4)]
    expected: Counter[str] = Counter()

    def bill(call: str, count: int = 1, times: int = 1) -> None:
        for meter_, units in calls.units(cloud, call, count).items():
            expected[meter_] += units * times

    assert site.candles.create(new) == []
    bill("write_candle", times=4)
    assert len(list(site.candles.range("BTCUSDT", 0, 9 * MINUTE))) == 4
    bill("candle", 4)
    assert list(site.candles.range("ETHUSDT", 0, 9 * MINUTE)) == []
    bill("candle", 0)
    for at in (30_000, 30_001):
        site.candles.update("BTCUSDT", 0, partial(fold, trades=apart(at, 1)))
    bill("write_candle", times=2)
    expected[f"{'dynamodb' if cloud == 'aws' else 'firestore'}_reads"] += 1  # by the first update
    settles(home, cloud, candles, dict(expected))
    expected.clear()

    for n in range(3):
        assert site.control.add("kind", f"{n}", {"said": "x" * 60})
    for _ in range(2):
        assert len(site.control.kept("kind")) == 3
    assert site.control.kept("other") == {}
    bill("kept", 3, times=2)
    bill("kept", 0)
    # Four symbols, one in each document.
    symbols = ("AAAUSDT", "ADAUSDT", "BTCUSDT", "ETHUSDT")
    assert site.control.beat([Heartbeat(symbol, 1, 1, 1, 1.0) for symbol in symbols]) == []
    expected[f"{'dynamodb' if cloud == 'aws' else 'firestore'}_reads"] += 4
    assert len(site.control.heartbeats()) == 4
    bill("heartbeats", 4)
    assert site.control.record() is None
    bill("record")
    reads = {meter_: units for meter_, units in expected.items() if meter_.endswith("_reads")}
    eventually(lambda: reads.items() <= counted(home, cloud, control).items(), pause=0.1)


def apart(start: int, count: int) -> list[Trade]:
    """Return trades of a minute without adjacent ids, which make a candle of the usual size."""
    price, quantity = Decimal("61837.63"), Decimal("0.02345")
    ids = range(start, start + 2 * count, 2)
    return [Trade("BTCUSDT", 10**9 + id_, price, quantity, start, True) for id_ in ids]
