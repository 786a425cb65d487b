"""Raw copies by a cloud's transfer service: choosing it, waiting, resuming, and repairing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from mcloud.clouds.aws.transfer import KEY, SECRET, DataSync
from mcloud.clouds.gcp.transfer import StorageTransfer
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.clouds.transfer import DONE, FAILED, FOLDERS, GONE, RUNNING, Transferred
from mcloud.errors import McloudError, Refused, Unavailable, UsageError
from mcloud.local.deployment import gcp_resources
from mcloud.market.archive import HOUR
from mcloud.market.block import block_prefix
from mcloud.replication import transfer as module
from mcloud.replication.restore import Restore, Restored
from mcloud.replication.scope import Scope
from mcloud.replication.transfer import PATIENCE, choose, folders_of

from .memory import MemorySite
from .rig import Killed, check_equal
from .test_verify import SYMBOL, TRADES, check, fill

ROLE = "arn:aws:iam::123456789012:role/copier"
AWS = AwsResources("eu-west-1", "q", "d", "candles", "control", "s3-bucket", "function")
GCP = gcp_resources(pubsub="", firestore="", monitoring="", storage="", function_url="")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0)


# Choosing the service


def test_the_clouds_of_the_sites_choose_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "GOOG1")
    monkeypatch.setenv(SECRET, "hmac-secret")
    assert isinstance(choose(AWS, GCP, ROLE), StorageTransfer)
    assert isinstance(choose(GCP, AWS, ROLE), DataSync)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (AWS, replace(AWS, raw_bucket="another")),
        (GCP, replace(GCP, raw_bucket="another")),
        (replace(AWS, endpoint_url="http://127.0.0.1:1"), GCP),
        (AWS, replace(GCP, storage_endpoint="http://127.0.0.1:1")),
        (AWS, replace(GCP, pubsub_endpoint="127.0.0.1:1")),
    ],
    ids=["aws-aws", "gcp-gcp", "embedded-aws", "embedded-storage", "embedded-pubsub"],
)
def test_without_a_service_the_direct_engine_is_advised(
    source: AwsResources | GcpResources, target: Resources
) -> None:
    with pytest.raises(McloudError, match="transfer service") as refused:
        choose(source, target, ROLE)
    assert refused.value.remedy == "use `--engine direct`"


@pytest.mark.parametrize("role", [None, "copier", "arn:aws:iam::123:role/x", f"{ROLE} "])
def test_without_a_role_it_is_refused(role: str | None) -> None:
    with pytest.raises(UsageError, match="--role-arn"):
        choose(AWS, GCP, role)


def test_days_are_named_as_long_as_they_are_few() -> None:
    day = 24 * HOUR
    hours = [(name, n * HOUR) for name in ("B", "A") for n in (0, 1, 23, 24)]
    assert folders_of(hours) == [
        "raw/symbol=A/block",
        "raw/symbol=A/date=1970-01-01/",
        "raw/symbol=A/date=1970-01-02/",
        "raw/symbol=B/block",
        "raw/symbol=B/date=1970-01-01/",
        "raw/symbol=B/date=1970-01-02/",
    ]
    assert len(folders_of([("A", n * day) for n in range(FOLDERS - 1)])) == FOLDERS
    assert folders_of([("A", n * day) for n in range(FOLDERS)]) == ["raw/symbol=A/"]
    with pytest.raises(McloudError, match="1,000 symbols, and 1,001 are selected") as refused:
        folders_of([(f"S{n}", 0) for n in range(FOLDERS + 1)])
    assert "--symbols" in refused.value.remedy


# A restoration with the service


class Service:
    """Copies objects between archives in memory when it is polled, as a cloud does with buckets."""

    service = "the service"

    def __init__(self, source: MemorySite, target: MemorySite) -> None:
        self._source = source.archive.objects
        self._target = target.archive.objects
        self.runs: dict[str, list[str]] = {}
        """Keys that are left to copy, by name of the run."""
        self.started: list[list[str]] = []
        self.tokens: dict[str, str] = {}
        self.before_start: Callable[[], None] = lambda: None
        self.after_start: Callable[[], None] = lambda: None
        self.step = 40
        self.before: Callable[[], None] = lambda: None
        self.verdict = DONE
        self.kept: list[str] = []
        """Keys that the service cannot copy."""

    def start(self, folders: Sequence[str], token: str) -> str:
        assert folders
        self.before_start()
        self.started.append(list(folders))
        name = f"run/{len(self.started)}"
        self.runs[name] = [key for key in sorted(self._source) if key.startswith(tuple(folders))]
        self.tokens[token] = name
        self.after_start()
        return name

    def find(self, token: str) -> str:
        return self.tokens.get(token, "")

    def look(self, name: str) -> Transferred:
        self.before()
        left = self.runs.get(name)
        if left is None:
            return Transferred(GONE)
        for key in left[: self.step]:
            if key not in self.kept:
                self._target.setdefault(key, self._source[key])
        del left[: self.step]
        copied = len(self._source.keys() & self._target.keys())
        state = RUNNING if left else self.verdict
        error = "the bucket is closed" if state == FAILED else ""
        return Transferred(state, copied, 100 * copied, len(self.kept), error)

    def end(self, name: str) -> None:
        self.runs.pop(name, None)


@pytest.fixture
def gcp() -> MemorySite:
    site = MemorySite("gcp")
    fill(TRADES, site)
    site.cloud = "gcp"
    return site


@pytest.fixture
def aws() -> MemorySite:
    site = MemorySite("aws")
    site.cloud = "aws"
    return site


@pytest.fixture
def service(aws: MemorySite, gcp: MemorySite) -> Service:
    return Service(gcp, aws)


@pytest.fixture
def restore(
    tmp_path: Path, aws: MemorySite, gcp: MemorySite, service: Service
) -> Callable[..., Restored]:
    def run(tell: Callable[[str], None] = lambda words: None) -> Restored:
        job = Restore(
            cast(Site, gcp),
            cast(Site, aws),
            Scope(),
            tmp_path,
            identities={"aws": "a", "gcp": "b"},
            engine="transfer-service",
            transfer=service,
            tell=tell,
        )
        with job.locked():
            return job.run(None if job.unfinished() else job.survey())

    return run


def test_the_service_copies_the_raw_trades_and_the_rest_is_direct(
    restore: Callable[..., Restored],
    service: Service,
    aws: MemorySite,
    gcp: MemorySite,
    tmp_path: Path,
) -> None:
    said: list[str] = []
    copies: list[str] = []
    aws.faults.before = copies.append
    done = restore(said.append)
    assert (done.objects, done.candles, done.left, done.notes) == (100, 200, 0, [])
    assert "put" not in copies  # no raw objects were copied
    days = {key.partition("hour=")[0] for key in gcp.archive.objects}
    assert service.started == [sorted({*days, block_prefix("BTCUSDT")})]
    assert "40 raw objects, 4,000 bytes" in said
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES)
    assert service.runs == {}
    assert not list(tmp_path.glob("transfer*"))


def test_objects_that_the_service_omits_are_copied_directly(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    service.kept = sorted(gcp.archive.objects)[3:5]
    done = restore()
    assert (done.objects, done.left) == (100, 0)
    assert aws.archive.objects == gcp.archive.objects
    assert check(aws, gcp).ok


def test_after_an_interruption_it_waits_for_the_same_run(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    service.step = 20
    looks = 0

    def cut() -> None:
        nonlocal looks
        looks += 1
        if looks % 3 == 0:
            raise Killed

    service.before = cut
    kills = 0
    while True:
        try:
            restore()
            break
        except Killed:
            kills += 1
    assert kills >= 2
    assert len(service.started) == 1
    assert check(aws, gcp).ok


@pytest.mark.parametrize("when", ["before_start", "after_start"])
def test_an_interrupted_start_does_not_start_a_second_transfer(
    restore: Callable[..., Restored],
    service: Service,
    aws: MemorySite,
    gcp: MemorySite,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """This includes a run that the service has started without returning its name."""

    def cut() -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(service, when, cut)
        with pytest.raises(Killed):
            restore()
    restore()
    assert len(service.started) == 1
    assert service.runs == {}
    assert check(aws, gcp).ok


def test_an_interruption_after_the_copy_does_not_begin_another(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    def cut(call: str) -> None:
        if call == "create":
            raise Killed

    copies = aws.candles.create
    aws.candles.create = lambda candles: cut("create") or copies(candles)  # type: ignore[func-returns-value, method-assign]
    with pytest.raises(Killed):
        restore()
    aws.candles.create = copies  # type: ignore[method-assign]
    assert service.runs == {}  # the run was removed
    restore()
    assert len(service.started) == 1
    assert check(aws, gcp).ok


def test_a_vanished_run_is_started_again(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    def cut() -> None:
        raise Killed

    service.before = cut
    with pytest.raises(Killed):
        restore()
    service.before = lambda: None
    service.runs.clear()
    restore()
    assert len(service.started) == 2
    assert check(aws, gcp).ok


def test_a_failed_run_is_reported_and_the_next_command_starts_another(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    service.verdict = FAILED
    service.kept = sorted(gcp.archive.objects)[:1]
    with pytest.raises(McloudError) as failed:
        restore()
    assert failed.value.message == (
        "the service: the transfer run/1 is failed after 99 objects, 1 were not copied:"
        " the bucket is closed"
    )
    assert "--engine direct" in failed.value.remedy
    assert service.runs == {}
    service.verdict, service.kept = DONE, []
    restore()
    assert len(service.started) == 2
    assert check(aws, gcp).ok


def test_a_temporarily_unavailable_service_is_awaited(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    asked = 0

    def away() -> None:
        nonlocal asked
        asked += 1
        if asked < PATIENCE:
            raise Unavailable("away")

    service.before = away
    said: list[str] = []
    restore(said.append)
    assert "the service does not answer; the transfer continues" in said
    assert check(aws, gcp).ok


def test_a_service_that_stays_unavailable_is_tried_again_in_the_next_run(
    restore: Callable[..., Restored], service: Service, aws: MemorySite, gcp: MemorySite
) -> None:
    def away() -> None:
        raise Unavailable("away")

    service.before = away
    with pytest.raises(Unavailable, match="away; the transfer continues; run the command again"):
        restore()
    service.before = lambda: None
    restore()
    assert len(service.started) == 1
    assert check(aws, gcp).ok


def test_no_transfer_is_started_if_nothing_is_missing(
    restore: Callable[..., Restored], service: Service, aws: MemorySite
) -> None:
    """In particular, no transfer without folders is started, since it would copy everything."""
    fill(TRADES, aws)
    restore()
    assert service.started == []


def test_resources_that_cannot_be_removed_are_reported(
    restore: Callable[..., Restored], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise Refused(f"may not delete {name}")

    monkeypatch.setattr(service, "end", refuse)
    assert restore().notes == [
        "the resources of the transfer run/1 cannot be removed: may not delete run/1"
    ]


def test_another_restoration_begins_another_run(
    restore: Callable[..., Restored], service: Service, tmp_path: Path, gcp: MemorySite
) -> None:
    """The name that an abandoned restoration left is ignored."""
    service.runs["run/0"] = []
    (tmp_path / "transfer+gcp+aws").write_text("run/0")
    assert restore().objects == len(gcp.archive.objects)
    assert (len(service.started), service.runs) == (1, {})
    assert f"symbol={SYMBOL}/" in service.started[0][0]
