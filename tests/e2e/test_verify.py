"""``mcloud verify`` and ``restore`` as processes, on stores of the embedded clouds."""

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from subprocess import CompletedProcess
from typing import Any, TypeVar

import pytest
from cli.conftest import Terminal
from patience import eventually
from replication.stores import fresh
from test_replicate import Sites
from test_throttled_aws import Proxy, proxy

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import make_firestore, make_storage
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.errors import Unavailable
from mcloud.feed.simulate import Simulate
from mcloud.local import outage
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State
from mcloud.market.archive import HOUR, ArchiveObject, prefix, unpack
from mcloud.market.candle import MINUTE, Candle, Folded, fold, to_timestamp
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, deliver, stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.replication.hour_digest import ALL_TIME
from mcloud.replication.restore import Restore
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["proxy"]  # a fixture

START = 1_723_161_600_000  # 2024-08-09T00:00:00Z
TRADES = list(Simulate(["BTCUSDT"], seed=8, start_time=START, count=1_800, rate=1 / 6))
HOURS = {each.time // HOUR for each in TRADES}
MESSAGE = 30


@pytest.fixture
def sites(tmp_path: Path, embedded: State) -> Sites:
    return Sites(embedded, tmp_path)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, tmp_path / "state")


def fill(site: Site, trades: list[Trade]) -> None:
    from mcloud.processor.ingest import ingest

    for begin in range(0, len(trades), MESSAGE):
        ingest(trades[begin : begin + MESSAGE], site.archive, site.candles)


def delete_objects(to: Resources, keys: Iterable[str]) -> None:
    for key in keys:
        if isinstance(to, AwsResources):
            s3 = make_client("s3", to.region, to.endpoint_url)
            s3.delete_object(Bucket=to.raw_bucket, Key=key)
        else:
            storage = make_storage(to.project, to.storage_endpoint)
            storage.bucket(to.raw_bucket).blob(key).delete()


def delete_candles(to: Resources, symbol: str, starts: Iterable[int]) -> None:
    for start in starts:
        if isinstance(to, AwsResources):
            key = {"symbol": {"S": symbol}, "timestamp": {"S": to_timestamp(start)}}
            dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
            dynamodb.delete_item(TableName=to.candles_table, Key=key)
        else:
            documents(to).document(f"{symbol}_{to_timestamp(start)}").delete()


def documents(to: GcpResources) -> Any:
    firestore = make_firestore(to.project, to.database, to.firestore_endpoint)
    return firestore.collection(to.candles_collection)


def run(terminal: Terminal, code: int, *arguments: str) -> CompletedProcess[str]:
    done = terminal.run(*arguments)
    assert done.returncode == code, done.stderr
    return done


def without(site: Site, start: int, id_: int, trades: list[Trade]) -> None:
    """Make a candle again as if one of its trades had never arrived."""
    kept = [each for each in trades if start <= each.time < start + MINUTE and each.id != id_]
    assert any(each.id > id_ for each in kept)
    assert any(each.id < id_ for each in kept)

    def change(stored: Candle) -> Folded:
        return fold(Candle(stored.symbol, stored.start), kept)

    site.candles.update("BTCUSDT", start, change)


@pytest.mark.slow
def test_removed_data_is_found_and_repaired_from_sites_and_exchange(
    terminal: Terminal, sites: Sites
) -> None:
    """One site lacks 20 raw objects, one lacks 20 candles and five ids, and both lack ten ids."""
    aws, gcp = sites.sites["aws"], sites.sites["gcp"]
    nowhere = [each.id for each in TRADES[1_030:1_040]]
    there = [each for each in TRADES if each.id not in nowhere]
    for site in (aws, gcp):
        fill(site, there)
    random = Random(1)
    keys = random.sample([each.key for each in aws.archive.list(prefix("BTCUSDT"))], 20)
    lost = {trade.id for key in keys for trade in unpack(aws.archive.get(key))}
    starts = random.sample([each.start for each in gcp.candles.range("BTCUSDT", *ALL_TIME)], 25)
    delete_objects(aws.resources, keys)  # type: ignore[attr-defined]
    delete_candles(gcp.resources, "BTCUSDT", starts[:20])  # type: ignore[attr-defined]
    inside = {}
    for start in starts[20:]:
        ids = [each.id for each in there if start <= each.time < start + MINUTE]
        inside[start] = ids[len(ids) // 2]
        without(gcp, start, inside[start], there)

    found = json.loads(run(terminal, 3, "verify", "--deep", "-o", "json").stdout)
    off = found["findings"]
    assert named(off, "missing", "gcp") == {to_timestamp(start) for start in starts[:20]}
    assert ids_of(off, "different", "gcp") == set(inside.values())
    assert ids_of(off, "unarchived", "aws") == lost
    assert ids_of(off, "incomplete", None) == set(nowhere)
    assert {each["kind"] for each in off} == {"missing", "different", "unarchived", "incomplete"}

    # The exchange has all of them. Without a terminal there is no prompt.
    with LocalExchange(TRADES, wait_for=0) as exchange:
        with (terminal.folder / "mcloud.toml").open("a") as file:
            file.write(f'[exchange]\nrest_url = "{exchange.rest_url}"\n')
        exchange.wait_finished()
        planned = run(terminal, 3, "verify", "--repair", "--dry-run", "-o", "json")
        plan = json.loads(planned.stdout)["repair"]["plan"]
        assert (plan["candles_to_merge"], plan["objects_to_copy"]) == (25, 20)
        assert (plan["trades_to_fetch"], plan["exchange_requests"]) == (10, 1)
        refused = run(terminal, 2, "verify", "--repair")
        assert "--yes" in refused.stderr
        assert len(list(aws.archive.list(prefix("BTCUSDT")))) == count_of(gcp) - 20
        mended = run(terminal, 0, "verify", "--repair", "--yes", "-o", "json")
    done = json.loads(mended.stdout)["repair"]["done"]
    assert (done["merged"], done["copied"], done["fetched"]) == (25, 20, 10)
    assert done["problems"] == []
    run(terminal, 0, "verify", "--deep")
    for site in (aws, gcp):
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(TRADES)
        assert archived_ids(site, ["BTCUSDT"]) == {("BTCUSDT", each.id) for each in TRADES}


def count_of(site: Site) -> int:
    return len(list(site.archive.list(prefix("BTCUSDT"))))


def named(findings: list[dict[str, Any]], kind: str, site: str | None) -> set[str]:
    return {each["timestamp"] for each in findings if (each["kind"], each["site"]) == (kind, site)}


def ids_of(findings: list[dict[str, Any]], kind: str, site: str | None) -> set[int]:
    return {
        id_
        for each in findings
        if (each["kind"], each["site"]) == (kind, site)
        for first, last in each["ids"]
        for id_ in range(first, last + 1)
    }


@pytest.mark.slow
def test_an_emptied_site_is_restored_though_interrupted_six_times(
    terminal: Terminal, sites: Sites, tmp_path: Path
) -> None:
    """A restoration that is interrupted within each hour continues, and ends exact."""
    source, target = sites.sites["gcp"], sites.sites["aws"]
    fill(source, TRADES)
    cuts, one_at_a_time = ["put", "create"] * 3, threading.Lock()
    assert len(HOURS) >= 3

    def cut(name: str, call: Callable[[T], R]) -> Callable[[T], R]:
        def cut_off_after(what: T) -> R:
            done = call(what)
            with one_at_a_time:
                if cuts[:1] != [name]:
                    return done
                cuts.pop(0)
            raise Unavailable("cut off")

        return cut_off_after

    target.archive.put = cut("put", target.archive.put)  # type: ignore[method-assign]
    target.candles.create = cut("create", target.candles.create)  # type: ignore[method-assign]
    ends = 0
    while True:
        job = Restore(
            source,
            target,
            Scope(),
            tmp_path / "restore",
            identities={"gcp": "source", "aws": "target"},
            workers=1,
        )
        try:
            with job.locked():
                done = job.run(None if job.unfinished() else job.survey())
            break
        except Unavailable:
            ends += 1
    assert ends == 6
    assert done.left == 0
    report = verify(sites.sites, Scope(), deep=True, pause=0)
    assert report.ok, report.findings
    sites.check_equal(TRADES)


@pytest.mark.slow
def test_an_emptied_site_is_not_used_as_a_source(terminal: Terminal, sites: Sites) -> None:
    fill(sites.sites["gcp"], TRADES[:600])
    refused = run(terminal, 1, "restore", "gcp", "--from", "aws", "--yes")
    assert "aws has less data than gcp" in refused.stderr
    assert "refused" not in run(terminal, 2, "restore", "gcp", "--from", "gcp").stderr
    planned = run(terminal, 0, "restore", "aws", "--from", "gcp", "--dry-run", "-o", "json")
    assert json.loads(planned.stdout)["estimate"]["trades"] == 600
    assert "list price" in planned.stderr
    assert stored_rows(sites.sites["aws"], ["BTCUSDT"]) == []
    run(terminal, 0, "restore", "aws", "--from", "gcp", "--yes")
    run(terminal, 0, "verify", "--deep")
    nothing = run(terminal, 0, "restore", "aws", "--from", "gcp", "--yes")
    assert "already has everything" in nothing.stderr


@pytest.mark.slow
def test_the_functions_rebuild_a_site(embedded: State, tmp_path: Path) -> None:
    """The trades pass through the queue, the function and the stores of the whole stack."""
    symbol = "REBUILTUSDT"
    trades = list(Simulate([symbol], seed=2, start_time=START, count=1_500, rate=0.5))
    terminal = Terminal(tmp_path, Path(embedded.options["home"]).parent)
    resources = embedded.resources()
    sites = {name: open_site(name, each) for name, each in resources.items()}
    deliver(trades, {"aws": sites["aws"].queue}, batch=100)
    eventually(lambda: stored_rows(sites["aws"], [symbol]) == expected_rows(trades))
    arguments = ("--symbols", symbol, "--engine", "functions", "--yes", "-o", "json")
    done = run(terminal, 0, "restore", "gcp", "--from", "aws", *arguments)
    document = json.loads(done.stdout)["done"]
    assert (document["messages"], document["candles"], document["left"]) == (2, 0, 0)
    run(terminal, 0, "verify", "--deep", "--symbols", symbol)
    assert stored_rows(sites["gcp"], [symbol]) == expected_rows(trades)


@pytest.mark.slow
def test_throttling_and_resets_change_nothing(
    embedded: State, proxy: Proxy, tmp_path: Path
) -> None:
    resources = fresh(embedded, "aws-throttled", "gcp-steady")
    aws = resources["aws-throttled"]
    assert isinstance(aws, AwsResources)
    source = open_site("gcp", resources["gcp-steady"])
    fill(source, TRADES[:300])
    target = proxy.site(aws)
    proxy.inject(
        {
            "service": "dynamodb",
            "times": 8,
            "error": {"code": "ProvisionedThroughputExceededException"},
        },
        {"service": "s3", "times": 8, "error": {"code": "SlowDown", "status": 503}},
        {"service": "s3", "times": 2, "reset": True},
    )
    _restore(source, target, tmp_path)
    assert {each["service"] for each in proxy.fired()} == {"dynamodb", "s3"}
    proxy.inject()
    assert verify({"aws": target, "gcp": source}, Scope(), deep=True, pause=0).ok
    assert stored_rows(target, ["BTCUSDT"]) == expected_rows(TRADES[:300])


@pytest.mark.slow
def test_google_that_throttles_changes_nothing(embedded: State, tmp_path: Path) -> None:
    sites = {
        name: open_site(name, each)
        for name, each in fresh(embedded, "aws-sound", "gcp-busy").items()
    }
    fill(sites["aws-sound"], TRADES[:300])
    home = Path(embedded.options["home"])
    try:
        for service in ("candles", "archive"):
            outage.begin(home, "gcp", service, "throttle", None)
        _restore(sites["aws-sound"], sites["gcp-busy"], tmp_path)
    finally:
        outage.end(home)
    assert verify(sites, Scope(), deep=True, pause=0).ok
    assert stored_rows(sites["gcp-busy"], ["BTCUSDT"]) == expected_rows(TRADES[:300])


def _restore(source: Site, target: Site, folder: Path) -> None:
    """Run the restoration repeatedly, as an operator would, until it is done."""
    for _ in range(50):
        names = {source.name: "source", target.name: "target"}
        job = Restore(source, target, Scope(), folder, identities=names)
        try:
            with job.locked():
                job.run(None if job.unfinished() else job.survey())
        except Unavailable:
            continue
        return
    raise AssertionError("it never got done")


@pytest.mark.slow
def test_contradictions_are_found_and_resolved(terminal: Terminal, sites: Sites) -> None:
    """Contradictions of four kinds are found and resolved.

    One id has a content on another day at both sites, another is in a wrong candle at one site, one
    candle is damaged, and one object is in the folder of another hour.
    """
    trades = TRADES[:240]
    false = trades[7]._replace(time=trades[7].time + 24 * HOUR)
    for site in sites.sites.values():
        fill(site, [*trades, false])
    gcp, aws = sites.sites["gcp"], sites.sites["aws"]
    moved = trades[100]._replace(time=trades[100].time + HOUR)
    start = moved.time // MINUTE * MINUTE
    gcp.candles.update("BTCUSDT", start, lambda stored: fold(stored, [moved]))
    damaged = to_timestamp(trades[50].time // MINUTE * MINUTE)
    document = documents(gcp.resources).document(f"BTCUSDT_{damaged}")  # type: ignore[attr-defined]
    document.update({"fragments": "nonsense"})
    key = next(each.key for each in aws.archive.list(prefix("BTCUSDT")))
    stray = prefix("BTCUSDT", START + 5 * HOUR) + key.rpartition("/")[2]
    aws.archive.put(ArchiveObject(stray, aws.archive.get(key)))

    for deep in ([], ["--deep"]):
        found = json.loads(run(terminal, 3, "verify", *deep, "-o", "json").stdout)["findings"]
        kinds = {(each["kind"], each["site"]) for each in found}
        assert kinds == {
            ("disputed", None),
            ("misplaced", "gcp"),
            ("damaged", "gcp"),
            ("misfiled", "aws"),
        }
        (disputed,) = (each for each in found if each["kind"] == "disputed")
        assert disputed["ids"] == [[false.id, false.id]]
        assert len(disputed["contents"]) == 2
    mended = run(terminal, 3, "verify", "--deep", "--repair", "--yes")
    assert f"mcloud resolve BTCUSDT {false.id}" in mended.stdout
    left = json.loads(run(terminal, 3, "verify", "--deep", "-o", "json").stdout)["findings"]
    assert {each["kind"] for each in left} == {"disputed"}
    shown = run(terminal, 3, "resolve", "BTCUSDT", str(false.id))
    (digits,) = (
        line.split(": ")[1]
        for line in shown.stdout.splitlines()
        if to_timestamp(trades[7].time)[:10] in line
    )
    assert "cannot keep 'azure'" in (
        run(terminal, 2, "resolve", "BTCUSDT", str(false.id), "--keep", "azure").stderr
    )
    assert "--yes" in run(terminal, 2, "resolve", "BTCUSDT", str(false.id), "--keep", digits).stderr
    run(terminal, 3, "resolve", "BTCUSDT", str(false.id), "--keep", digits, "--dry-run")
    kept = run(terminal, 0, "resolve", "BTCUSDT", str(false.id), "--keep", digits, "--yes")
    assert ".jsonl" in kept.stderr
    run(terminal, 0, "verify", "--deep")
    sites.check_equal(trades)
    audit = (terminal.folder / "state" / "audit.jsonl").read_text()
    assert json.loads(audit.splitlines()[-1])["step"] == "resolve"
    removed = "".join(
        each.read_text() for each in (terminal.folder / "state" / "removed").iterdir()
    )
    assert stray in removed
    assert '"fragments": "nonsense"' in removed
