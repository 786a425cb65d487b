"""A whole life of two sites, in which each component has its own credentials."""

import json
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
from cli.conftest import Terminal
from patience import PATIENCE, eventually

from mcloud.clouds.anomalies import recent
from mcloud.clouds.aws import permissions as aws_permissions
from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.gcp.archive import GcsArchive
from mcloud.clouds.gcp.client import (
    make_firestore,
    make_publisher,
    make_storage,
    make_subscriber,
)
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.clouds.resources import GcpResources
from mcloud.local import children, outage
from mcloud.local.schedule import PERIODS, call, url_of
from mcloud.local.state import State
from mcloud.market.archive import pack
from mcloud.market.trade import Trade

from ..module import provider_mirror
from .aws_operations import ACCOUNT, STACK
from .google_roles import PUBSUB
from .proxies import Allow, GoogleCall, door, proxies

LONGEST = 900.0  # seconds for one command: the provider waits 25 s after each change of a queue
START = 30.0  # seconds for a process to listen
STATES = "states"  # bucket of Terraform's states
PEOPLE = ("operator", "producer", "replicator")
DEPLOYERS = ("deployer", "planner")
OLD = 1_723_075_200_000  # ms; 2024-08-08, old enough for a compaction

VARIABLES: dict[str, object] = {
    "deletion_protection": False,
    "alert_email": "ops@example.com",
    "alert_publishers": ["operator", "replicator"],
    "alerts_key": True,
    "max_silence": 900,
    "monthly_budget": 50,
    "function_timeout": 20,
    "reserve_concurrency": True,
}
CHANGED: dict[str, object] = {
    "deletion_protection": False,
    "alert_publishers": ["operator"],
    "alerts_key": True,
    "function_memory": 256,
    "batch_window": 2,
    "log_retention": 60,
    "monthly_budget": 60,
    "anomaly_schedule": "rate(2 minutes)",
    "tags": {"team": "desk"},
}


@dataclass(frozen=True)
class AwsCall:
    role: str
    operation: str
    action: str
    resource: str
    context: Mapping[str, Any]
    denied: bool


@dataclass(frozen=True)
class Life:
    """The calls of a life, and the policies of the roles on AWS by their names."""

    aws: list[AwsCall]
    policies: dict[str, dict[str, dict[str, Any]]]
    google: set[GoogleCall]


class Aws:
    """An embedded AWS that enforces policies."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "aws"
        self.home.mkdir()
        self.calls = folder / "calls.jsonl"
        (port,) = children.free_ports(1)
        child = children.aws(port, self.home, self.home / "data")
        script = Path(__file__).with_name("aws_server.py")
        # Firehose need not wait as long as the stream says.
        options = ("--home", str(self.home), "--export-seconds", "1")
        command = (sys.executable, str(script), str(self.calls), *options)
        environment = {**child.environment, "AUTH": "true"}
        self._child = replace(child, command=command, environment=environment)
        self.url = f"http://{child.address}"

    @contextmanager
    def running(self) -> Iterator[None]:
        process = self._child.start(self.home, self.home / "log")
        try:
            eventually(lambda: children.answers(self._child.address))
            yield
        finally:
            children.stop([process], patience=5)

    def root(self, service: str) -> Any:
        """Return a client that may do everything, and whose calls are not noted."""
        return make_client(service, "us-east-1", self.url)

    def client(self, role: str, service: str) -> Any:
        """Return a client that has assumed a role."""
        given = self.credentials(role)
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=given["AWS_SESSION_TOKEN"],
        )

    def control(self) -> DynamoControl:
        return DynamoControl(self.root("dynamodb"), f"{STACK}-control")

    def make_deployers(self) -> None:
        state = aws_permissions.StateLocation(STATES, f"mcloud/prod/{STACK}/aws.tfstate")
        trust = _document("sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        for component in DEPLOYERS:
            granted = aws_permissions.policy(component, "aws", "us-east-1", STACK, state)
            name = f"ci-{component}"
            self.root("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
            self.root("iam").put_role_policy(
                RoleName=name, PolicyName=component, PolicyDocument=json.dumps(granted)
            )
        self.root("s3").create_bucket(Bucket=STATES)

    def credentials(self, role: str) -> dict[str, str]:
        """Return the environment of a process that has assumed a role."""
        given = self.root("sts").assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="session"
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
        }

    def policies(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the policies of all roles, by role and name."""
        iam = self.root("iam")
        return {
            role["RoleName"]: {
                name: iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)[
                    "PolicyDocument"
                ]
                for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
            }
            for role in iam.list_roles()["Roles"]
        }

    def called(self) -> set[tuple[str, str]]:
        return {(call.role, call.action) for call in self.noted()}

    def noted(self) -> list[AwsCall]:
        return [AwsCall(*json.loads(line)) for line in self.calls.read_text().splitlines()]


def live(folder: Path, embedded: State, allows: Allow) -> Life:
    """Deploy, use and destroy a stack on AWS beside a site of the embedded Google Cloud."""
    google = embedded.resources()["gcp"]
    assert isinstance(google, GcpResources)
    calls: set[GoogleCall] = set()
    aws = Aws(folder)
    with ExitStack() as stack:
        stack.enter_context(aws.running())
        aws.make_deployers()
        call_scheduled = stack.enter_context(_functions(folder, google, allows, calls))

        def terminal(component: str, role: str, variables: dict[str, object]) -> Terminal:
            to = stack.enter_context(proxies(google, component, allows, calls))
            place = folder / f"{component}-{len(list(folder.iterdir()))}"
            place.mkdir()
            (place / "mcloud.toml").write_text(_toml(to, variables))
            made = Terminal(place, folder / "state")
            made.environment |= {**aws.credentials(role), "TF_PLUGIN_DIR": provider_mirror()}
            return made

        deployer = terminal("deployer", "ci-deployer", VARIABLES)
        run(deployer, "doctor", "aws", "--role", "deployer", codes=(0, 3))
        run(deployer, "deploy", "aws", "--yes")
        run(deployer, "doctor", "aws", "--role", "deployer", codes=(0, 3))
        planner = terminal("planner", "ci-planner", VARIABLES)
        run(planner, "doctor", "aws", "--role", "planner", codes=(0, 3))
        hands = {each: terminal(each, f"{STACK}-{each}", VARIABLES) for each in PEOPLE}
        _use(hands, aws, google, call_scheduled, calls)
        policies = aws.policies()
        run(planner, "plan", "aws", "--out", "plan")
        changed = terminal("deployer", "ci-deployer", CHANGED)
        run(changed, "deploy", "aws", "--yes")
        without_key = terminal("deployer", "ci-deployer", {**CHANGED, "alerts_key": False})
        run(without_key, "deploy", "aws", "--yes")
        run(without_key, "destroy", "aws", "--yes", "--confirm", STACK)
    return Life(aws.noted(), policies, calls)


def run(terminal: Terminal, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    process = terminal.start(*arguments)
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode in codes, f"{arguments}: {process.returncode}\n{out}\n{err}"
    return out


def _use(
    hands: dict[str, Terminal],
    aws: Aws,
    google: GcpResources,
    call_scheduled: Callable[[str], None],
    calls: set[GoogleCall],
) -> None:
    producer, replicator, operator = hands["producer"], hands["replicator"], hands["operator"]
    for sites, seed in (("aws,gcp", 1), ("aws", 2), ("gcp", 3)):
        _produce(producer, ("SAME", "LEFT", "RIGHT")[seed - 1] + "USDT", sites, seed)
    # The sites get different prices under the same ids.
    for site, price in (("aws", "10.5"), ("gcp", "10.6")):
        _replay(producer, site, [_line("TWOUSDT", trade, price) for trade in range(1, 21)])
    now = int(time.time() * 1000)
    jump = [_line("JUMPUSDT", i, "20" if i > 110 else "10", now - 7_500_000) for i in range(1, 121)]
    # The producer stores the anomaly, and a second run, which knows more, replaces it.
    _replay(producer, "aws,gcp", jump[:111])
    _replay(producer, "aws,gcp", jump)
    _return_half_of_a_batch(producer, aws)
    call_scheduled("anomaly")
    _sends_the_jump(aws)

    _poison(aws, google, calls)
    for site in ("aws", "gcp"):
        run(operator, "dlq", "list", site)
        run(replicator, "dlq", "redrive", site, "--all", "--yes", codes=(0, 3))
    for command in READS:
        run(operator, *command.split(), codes=(0, 3))
    _for_a_while(operator, "alerts", "watch", "--interval", "1")

    _export(google, calls)
    run(replicator, "replicate", "--once", codes=(0, 3))
    _leave_for_compaction(aws, google, 301)
    run(replicator, "compact", "--symbols", "OLDUSDT", codes=(0, 3))
    found = json.loads(run(operator, *TRACE, "--wait", "-o", "json"))
    assert all(site["object"] for site in found["sites"].values()), found
    _leave_for_compaction(aws, google, 302)
    call_scheduled("compact")
    _call_on_schedule(aws)
    run(replicator, "verify", "--deep", "--repair", "--yes", codes=(0, 3))
    run(replicator, "resolve", "TWOUSDT", "1-20", "--keep", "aws", "--yes", codes=(0, 3))
    run(replicator, "restore", "gcp", "--from", "aws", "--yes", codes=(0, 3))
    functions = ("--engine", "functions", "--symbols", "SAMEUSDT")
    run(replicator, "restore", "aws", "--from", "gcp", *functions, "--yes", codes=(0, 3))
    for command in (
        "failover gcp --yes --wait --reason test",
        "guard pause",
        "guard resume",
        "alerts silence aws --for 2h --why test",
    ):
        # They give up on a site that does not answer soon, as on a loaded machine.
        eventually(lambda each=command: replicator.run(*each.split()).returncode == 0)
    silences = json.loads(run(replicator, "alerts", "silences", "-o", "json"))
    run(replicator, "alerts", "unsilence", silences[0]["id"])
    for site in (aws.control(), _control(google)):
        site.keep("heartbeat", "SAMEUSDT", {"damaged": True})
        site.keep("silence", "damaged", {"damaged": True})
    run(replicator, "documents", "repair", "--yes", codes=(0, 3))
    _for_a_while(replicator, "guard", "run")
    run(replicator, "alerts", "test", codes=(0, 3))
    for mode in ("primary", "cheapest", "nearest"):
        _produce(producer, "MODEUSDT", "aws,gcp", 4, "--mode", mode)


TRACE = ("trace", "1", "--symbol", "OLDUSDT")
READS = (
    *("doctor", "status", "anomalies", "candles SAMEUSDT --site aws"),
    *("candles SAMEUSDT --site gcp", "anomalies scan SAMEUSDT", " ".join(TRACE)),
    *("cost report", "cost advise", "verify --deep --wait", "documents list", "alerts silences"),
    *("alerts test", "failover --history", "logs --since 1h", "monitor --once", "metrics"),
    "cost forecast",
)
"""Commands of an operator."""


def _produce(producer: Terminal, symbol: str, sites: str, seed: int, *more: str) -> None:
    source = ("--source", "simulate", "--symbols", symbol, "--count", "500", "--seed", str(seed))
    run(
        producer,
        "produce",
        *source,
        "--to",
        sites,
        "--name",
        f"{symbol}-{seed}{''.join(more)}",
        *more,
    )


def _replay(producer: Terminal, sites: str, lines: list[str]) -> None:
    recording = producer.folder / f"{len(list(producer.folder.iterdir()))}.jsonl"
    recording.write_text("".join(lines))
    source = ("--source", f"replay:{recording}", "--market", "spot", "--to", sites)
    run(producer, "produce", *source, "--name", recording.stem)


def _return_half_of_a_batch(producer: Terminal, aws: Aws) -> None:
    """Let the time of the processor on AWS run out in the middle of a batch."""
    outage.begin(aws.home, "aws", "candles", "slow", None)
    _replay(producer, "aws,gcp", [_line("OLDUSDT", trade, "1") for trade in range(1, 301)])
    eventually(lambda: (f"{STACK}-processor", "sqs:SendMessage") in aws.called(), pause=1)
    outage.end(aws.home, "aws", "candles")
    url = aws.root("sqs").get_queue_url(QueueName=f"{STACK}-trades")["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        found = aws.root("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return not any(map(int, found["Attributes"].values()))

    eventually(is_empty, pause=1)


def _sends_the_jump(aws: Aws) -> None:
    """Let the anomaly function on AWS send what the producer has found."""
    aws.root("lambda").invoke(FunctionName=f"{STACK}-anomaly")
    assert (f"{STACK}-anomaly", "sns:Publish") in aws.called()
    found = {(each.symbol, each.kind): each for each in recent(aws.control(), 0)}
    assert found["JUMPUSDT", "price-jump"].complete
    assert not aws.control().kept("anomaly-untold")


def _for_a_while(terminal: Terminal, *arguments: str) -> None:
    process = terminal.start(*arguments)
    time.sleep(15)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


def _control(google: GcpResources) -> FirestoreControl:
    firestore = make_firestore(google.project, google.database, google.firestore_endpoint)
    return FirestoreControl(firestore, google.control_collection)


def _call_on_schedule(aws: Aws) -> None:
    """Do with the role of each schedule what EventBridge Scheduler does: call the function, and
    keep a call that failed."""
    iam = aws.root("iam")
    for name in PERIODS:
        target = aws.root("scheduler").get_schedule(Name=f"{STACK}-{name}")["Target"]
        role = target["RoleArn"].rpartition("/")[2]
        # Only the service itself may assume the role, which ministack enforces.
        trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        ours = _document("sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=ours)
        functions, queues = aws.client(role, "lambda"), aws.client(role, "sqs")
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
        answer = functions.invoke(FunctionName=target["Arn"])
        assert "FunctionError" not in answer, answer["Payload"].read()
        queue = target["DeadLetterConfig"]["Arn"].rpartition(":")[2]
        url = aws.root("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
        queues.send_message(QueueUrl=url, MessageBody="{}")


def _poison(aws: Aws, google: GcpResources, calls: set[GoogleCall]) -> None:
    """Put a dead letter into both dead-letter queues.

    On Google Cloud, Pub/Sub itself forwards what the processor has refused too often, with
    permissions on both sides:
    https://docs.cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions.
    """
    sqs = aws.root("sqs")
    url = sqs.get_queue_url(QueueName=f"{STACK}-trades-dlq")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    topic = f"projects/{google.project}/topics/{google.topic}"
    make_publisher(google.pubsub_endpoint).publish(topic=topic, messages=[{"data": b"poison"}])
    subscriber = make_subscriber(google.pubsub_endpoint)
    name = f"projects/{google.project}/subscriptions/{google.dlq_subscription}"

    def is_forwarded() -> bool:
        pulled = subscriber.pull(subscription=name, max_messages=10, return_immediately=True)
        ids = [each.ack_id for each in pulled.received_messages]
        if ids:
            subscriber.modify_ack_deadline(subscription=name, ack_ids=ids, ack_deadline_seconds=0)
        return any(
            each.message.attributes.get("CloudPubSubDeadLetterSourceSubscription")
            == google.subscription
            for each in pulled.received_messages
        )

    eventually(is_forwarded, pause=1)
    calls.update(
        GoogleCall(PUBSUB, "a dead letter", *needed)
        for needed in (
            ("subscription", "pubsub.subscriptions.consume"),
            ("dlq_topic", "pubsub.topics.publish"),
        )
    )


def _export(google: GcpResources, calls: set[GoogleCall]) -> None:
    """Wait until Pub/Sub has written a staged object, after it has checked the bucket:
    https://docs.cloud.google.com/pubsub/docs/create-cloudstorage-subscription.
    """
    storage = make_storage(google.project, google.storage_endpoint)
    eventually(lambda: any(storage.list_blobs(google.staging_bucket, prefix="staged/")), pause=1)
    for permission in ("storage.buckets.get", "storage.objects.create"):
        calls.add(GoogleCall(PUBSUB, "an export", "staging", permission))


def _leave_for_compaction(aws: Aws, google: GcpResources, trade_id: int) -> None:
    """Archive a trade at each site as functions of earlier releases did, and stage a line that is
    no message, which a compaction keeps elsewhere."""
    key, line = f"staged/2024/08/08/23/{uuid.uuid4()}", "no message\n"
    aws.root("s3").put_object(Bucket=f"{STACK}-staging-{ACCOUNT}", Key=key, Body=line.encode())
    storage = make_storage(google.project, google.storage_endpoint)
    storage.bucket(google.staging_bucket).blob(key).upload_from_string(line)
    one = Decimal(1)
    (item,) = pack([Trade("OLDUSDT", trade_id, one, one, OLD + trade_id, True)])
    for archive in (
        S3Archive(aws.root("s3"), f"{STACK}-raw-{ACCOUNT}"),
        GcsArchive(storage, google.raw_bucket),
    ):
        archive.put(item)


@contextmanager
def _functions(
    folder: Path, google: GcpResources, allows: Allow, calls: set[GoogleCall]
) -> Iterator[Callable[[str], None]]:
    """Run the functions of Google between proxies of their own, in place of the embedded ones.

    The processor takes what is pushed to it, and archives it as after a move of an existing stack;
    what is yielded calls a scheduled function by name.
    """
    subscription = f"projects/{google.project}/subscriptions/{google.subscription}"
    subscriber = make_subscriber(google.pubsub_endpoint)

    def push_to(url: str) -> None:
        subscriber.modify_push_config(subscription=subscription, push_config={"push_endpoint": url})

    processes = []
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with ExitStack() as stack:
        stack.callback(lambda: children.stop(processes, patience=5))
        urls = {}
        for component in ("processor", *PERIODS):
            to = stack.enter_context(proxies(google, component, allows, calls))
            (port,) = children.free_ports(1)
            place = folder / f"function-{component}"
            child = children.function(port, port, place, to, exported_since=later)
            processes.append(child.start(folder, folder / f"{component}.log"))
            eventually(lambda address=child.address: children.answers(address))
            called = callers(component)
            urls[component] = stack.enter_context(
                door(f"http://{child.address}", called, allows, calls)
            )
        push_to(urls["processor"])
        stack.callback(push_to, google.function_url)

        def call_scheduled(name: str) -> None:
            call(url_of(urls[name], name))

        yield call_scheduled


def callers(component: str) -> frozenset[GoogleCall]:
    """Return what a call of a function needs on Google Cloud, where IAM guards each function.

    Pub/Sub makes a token for the account that may call the processor:
    https://docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions. The service agent of
    Cloud Scheduler has a role of Google's for its account.
    """
    service, invoke = f"service {STACK}-{component}", "run.routes.invoke"
    if component != "processor":
        return frozenset({GoogleCall("scheduler", "a call on schedule", service, invoke)})
    token = "iam.serviceAccounts.getOpenIdToken"
    return frozenset(
        {
            GoogleCall("invoker", "a push", service, invoke),
            GoogleCall(PUBSUB, "a push", "account invoker", token),
        }
    )


def _toml(google: GcpResources, variables: dict[str, object]) -> str:
    backend = {
        "type": "s3",
        "bucket": STATES,
        "region": "us-east-1",
        "use_path_style": True,
        "skip_metadata_api_check": True,
    }
    aws = {"cloud": "aws", "region": "us-east-1", "name": STACK}
    lines = ['profile = "prod"', "[profiles.prod.sites.aws]", *_pairs(aws)]
    lines += ["[profiles.prod.sites.aws.variables]", *_pairs(variables)]
    lines += ["[profiles.prod.sites.aws.backend]", *_pairs(backend)]
    lines += ["[profiles.prod.sites.gcp]", *_pairs({"cloud": "gcp", **google.to_outputs()})]
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{STACK}-alerts"
    lines += ["[channels.mail]", *_pairs({"type": "sns", "topic": topic})]
    return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(value)) + "}"
    return json.dumps(value)


def _line(symbol: str, trade: int, price: str, start: int = OLD) -> str:
    """Return a trade of the minute of its id, as the exchange streams it."""
    at = start + trade * 60_000
    event = {"e": "trade", "E": at, "s": symbol, "t": trade, "p": price, "q": "1", "T": at}
    return json.dumps({**event, "m": False}) + "\n"


def _document(action: str, **statement: object) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, **statement}],
        }
    )
