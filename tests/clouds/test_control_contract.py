"""Every kind of site fulfils the contract of ``mcloud.clouds.ports.Control``."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from mcloud import errors
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.clouds.ports import Control, ControlRecord, Heartbeat, Lag, Site
from mcloud.documents import Damaged, sound
from mcloud.failover import audit


class TestControl:
    def test_heartbeats_add_up_and_the_newest_time_stays(self, site: Site) -> None:
        assert site.control.heartbeats() == []
        site.control.beat([Heartbeat("ETHUSDT", 500, 10, 1, 1.0)])
        site.control.beat(
            [Heartbeat("BTCUSDT", 900, 5, 1, 2.0), Heartbeat("ETHUSDT", 400, 7, 2, 3.0)]
        )
        assert site.control.heartbeats() == [
            Heartbeat("BTCUSDT", 900, 5, 1, 2.0),
            Heartbeat("ETHUSDT", 500, 17, 3, 3.0),
        ]

    def test_the_newest_lag_of_a_pair_is_kept(self, site: Site) -> None:
        assert site.control.lags() == []
        site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
        lag = Lag("gcp", "aws", "all", 1.5, 3, None, 0, 12.25)
        for told in (lag, replace(lag, part="1/2", raw_s=2.0), replace(lag, source="a/b")):
            site.control.note_lag(told)
        site.control.note_lag(replace(lag, candles=0))
        assert site.control.lags() == [
            replace(lag, source="a/b"),
            replace(lag, part="1/2", raw_s=2.0),
            replace(lag, candles=0),
        ]
        assert site.control.heartbeats() == [Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]

    def test_a_lag_of_an_earlier_version_is_damaged_until_the_next_report(self, site: Site) -> None:
        lag = Lag("gcp", "aws", "1/2", 1.5, 3, None, 0, 12.25)
        put_raw(site, "lag", lag.key, {"lag": json.dumps(asdict(lag))})
        site.control.keep("lag", "gcp aws all", {"source": "gcp", "seconds": 4})
        assert list(map(str, site.control.lags())) == [
            "the lag gcp aws 1/2 is damaged: document is not a text; `mcloud documents repair` "
            "repairs it",
            "the lag gcp aws all is damaged: target is missing; `mcloud documents repair` "
            "repairs it",
        ]
        site.control.note_lag(lag)
        assert site.control.lags()[0] == lag

    def test_a_document_that_is_no_object_is_damaged(self, site: Site) -> None:
        site.control.keep("note", "sound", {"n": 1})
        for document in ("{", "[]", "null", "[" * 5000, 5, None, b"x", True):
            put_raw(site, "note", "broken", {"document": document})
            found = site.control.kept("note")
            assert found["sound"] == {"n": 1}
            assert isinstance(found["broken"], Damaged)
            assert found["broken"].where == "the note broken"
            assert site.control.replace("note", "broken", {"n": 2}, {"n": 1}) is False
        site.control.forget("note", "broken")
        assert site.control.kept("note") == {"sound": {"n": 1}}

    def test_a_document_with_other_spacing_is_replaced(self, site: Site) -> None:
        put_raw(site, "note", "x", {"document": '{ "b":1,\n"a" : 2 }'})
        assert site.control.replace("note", "x", {"n": 2}, {"a": 2, "b": 1}) is True
        assert site.control.kept("note") == {"x": {"n": 2}}

    def test_a_damaged_record_is_reported_and_stays_until_it_is_deleted(self, site: Site) -> None:
        record = ControlRecord(3, "aws", "manual", "why", "me", 12.5)
        huge = 10**37 if site.cloud == "aws" else 2**62  # Firestore has no integers beyond 64 bits
        for changes, what in (
            ({"epoch": huge}, f"epoch is {huge}, "),
            ({"epoch": "7"}, "epoch is '7', not a whole number"),
            ({"at": "yesterday"}, "at is 'yesterday', not a number"),
            ({"by": True}, "by is True, not a text"),
            ({"primary": None}, "primary is null, not a text"),
            ({"version": 2}, "version 2, and this one reads 1"),
        ):
            put_raw(site, "control", "record", {**asdict(record), **changes})
            found = site.control.record()
            assert isinstance(found, Damaged)
            assert found.where == "the control record"
            assert found.what.startswith(what)
            with pytest.raises(errors.DamagedData, match="the control record"):
                site.control.write_record(replace(record, epoch=2**53))
            assert site.control.record() == found
        site.control.forget_record()
        assert site.control.record() is None
        assert site.control.write_record(record) is True

    def test_heartbeats_of_an_earlier_release_are_added(self, site: Site) -> None:
        earlier = {"last_trade_time": 700, "trades": 40, "messages": 4, "at": 9.5}
        for symbol in ("BTCUSDT", "OLDUSDT"):
            put_raw(site, "heartbeat", symbol, {"symbol": symbol, **earlier})
        site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
        assert site.control.heartbeats() == [
            Heartbeat("BTCUSDT", 900, 45, 5, 9.5),
            Heartbeat("OLDUSDT", 700, 40, 4, 9.5),
        ]
        site.control.forget_heartbeat("BTCUSDT")
        assert site.control.heartbeats() == [Heartbeat("OLDUSDT", 700, 40, 4, 9.5)]

    def test_concurrent_instances_lose_and_double_no_count(self, site: Site) -> None:
        controls = [site.control, *(another_control(site) for _ in range(3))]
        symbols = [f"A{n}USDT" for n in range(12)]

        def count(control: Control) -> None:
            for n in range(10):
                beats = [Heartbeat(symbol, n, 2, 1, float(n)) for symbol in symbols[n % 3 :]]
                assert control.beat(beats) == []

        with ThreadPoolExecutor(len(controls)) as pool:
            list(pool.map(count, controls))
        writes = dict.fromkeys(symbols, 40) | {symbols[0]: 16, symbols[1]: 28}
        assert {beat.symbol: (beat.trades, beat.messages) for beat in sound_beats(site)} == {
            symbol: (2 * count, count) for symbol, count in writes.items()
        }
        assert {beat.last_trade_time for beat in sound_beats(site)} == {9}

    def test_a_damaged_heartbeat_does_not_stop_the_others(self, site: Site) -> None:
        put_raw(site, "heartbeat", "AAAUSDT", {"symbol": "AAAUSDT", "trades": "many", "at": 1.0})
        beats = [Heartbeat("AAAUSDT", 1, 1, 1, 2.0), Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]
        assert site.control.beat(beats) == []
        broken, good = site.control.heartbeats()
        assert isinstance(broken, Damaged)
        assert good == beats[1]
        site.control.forget_heartbeat("AAAUSDT")
        site.control.beat(beats[:1])
        assert site.control.heartbeats() == beats

    def test_a_damaged_entry_does_not_hold_up_others(self, site: Site) -> None:
        # Both symbols are in this document.
        beats = [Heartbeat("BADUSDT", 1, 1, 1, 2.0), Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]
        for entry, what in (
            ([900, "many", 1, 2.0], "trades is 'many', not a whole number"),
            ([900, 1], "it is not a list of four numbers"),
            (None, "it is not a list of four numbers"),
        ):
            document = {"symbols": {"BADUSDT": entry}, "write": ""}
            site.control.keep("heartbeats", "4 of 4", document)
            assert site.control.beat(beats) == beats[:1]
            broken, good = site.control.heartbeats()
            assert isinstance(broken, Damaged)
            assert (broken.where, broken.what) == ("the heartbeat BADUSDT", what)
            assert good == beats[1]
        site.control.forget_heartbeat("BADUSDT")
        assert site.control.beat(beats[:1]) == []
        assert site.control.heartbeats() == beats

    def test_a_damaged_document_of_heartbeats_stays_as_it_is(self, site: Site) -> None:
        site.control.beat([Heartbeat("ETHUSDT", 3, 1, 1, 2.0)])
        for document, what in (
            ("{", "it is not JSON: "),
            ('{"symbols": [], "write": ""}', "symbols is a list, not an object"),
            ('{"symbols": {}, "write": "", "version": 2}', "version 2, and this one reads 1"),
        ):
            put_raw(site, "heartbeats", "4 of 4", {"document": document})
            with pytest.raises(errors.DamagedData, match="the heartbeats 4 of 4"):
                site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
            good, broken = site.control.heartbeats()
            assert good == Heartbeat("ETHUSDT", 3, 1, 1, 2.0)
            assert isinstance(broken, Damaged)
            assert broken.where == "the heartbeats 4 of 4"
            assert broken.what.startswith(what)

    def test_the_record_with_the_highest_epoch_stays(self, site: Site) -> None:
        assert site.control.record() is None
        first = ControlRecord(1, "aws", "manual", "the first", "somebody", 12.5)
        second = ControlRecord(2, "gcp", "automatic", "aws is away", "guard", 13.0)
        assert site.control.write_record(first) is True
        assert site.control.record() == first
        assert site.control.write_record(second) is True
        assert site.control.write_record(first) is False
        assert site.control.write_record(replace(second, primary="aws")) is False
        assert site.control.record() == second

    def test_keeps_documents(self, site: Site) -> None:
        control = site.control
        assert control.kept("step") == {}
        for key in ("2026-01-02", "2026-01-01", "2026-01-03"):
            control.keep("step", key, {"at": 1, "who": None, "parts": [key, 1.5, {"ü": True}]})
        control.keep("steps", "2026-01-04", {})
        assert list(control.kept("step")) == ["2026-01-01", "2026-01-02", "2026-01-03"]
        assert list(control.kept("step", "2026-01-01")) == ["2026-01-02", "2026-01-03"]
        assert control.kept("step", "2026-01-01", 1) == {
            "2026-01-02": {"at": 1, "who": None, "parts": ["2026-01-02", 1.5, {"ü": True}]}
        }
        assert control.add("step", "2026-01-02", {"at": 2}) is False
        assert control.add("step", "12:00:00 b", {"at": 2}) is True
        control.keep("step", "2026-01-02", {"at": 3})
        assert control.get("step", "2026-01-02") == {"at": 3}
        assert control.get("step", "2026-01-09") is None
        assert control.kept("step", limit=1) == {"12:00:00 b": {"at": 2}}
        assert control.kept("step")["2026-01-02"] == {"at": 3}
        for _ in range(2):
            control.forget("step", "12:00:00 b")
        assert "12:00:00 b" not in control.kept("step")

    def test_replace_fails_after_a_change_by_another_writer(self, site: Site) -> None:
        control = site.control
        first, second = {"n": 1, "at": 0.1, "who": "ü"}, {"n": 2, "at": 0.2, "who": None}
        assert control.replace("note", "a b", second, first) is False
        assert control.kept("note") == {}
        control.keep("note", "a b", first)
        told = control.kept("note")["a b"]
        assert control.replace("note", "a b", second, told) is True
        assert control.replace("note", "a b", first, told) is False
        assert control.kept("note") == {"a b": second}

    def test_one_of_several_concurrent_replacements_of_a_document_wins(self, site: Site) -> None:
        site.control.keep("note", "many", {"n": 0})
        wins: list[int] = []

        def write(number: int) -> None:
            if site.control.replace("note", "many", {"n": number}, {"n": 0}):
                wins.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [site.control.kept("note")["many"]["n"]] == wins

    def test_one_of_several_writers_of_an_epoch_wins(self, site: Site) -> None:
        wins: list[str] = []

        def write(name: str) -> None:
            if site.control.write_record(ControlRecord(7, name, "manual", "", name, 1.0)):
                wins.append(name)

        threads = [threading.Thread(target=write, args=(f"site-{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = site.control.record()
        assert record is not None
        assert wins == [record.primary]

    def test_the_audit_of_a_site_has_the_newest_entries(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit, "KEPT", 4)
        monkeypatch.setattr(audit, "AT_ONCE", 3)
        monkeypatch.setattr(audit, "DEADLINE", 60.0)
        log = audit.Audit(tmp_path / "audit.jsonl", {"x": site})
        entries = [
            audit.AuditEntry(f"2026-01-0{day} abc", "move", "me", "", day) for day in range(1, 8)
        ]
        assert log.share(entries[:3], ["x"]) == {}
        assert list(site.control.kept(audit.KIND)) == [each.key for each in entries[:3]]
        assert log.share(entries[3:], ["x"]) == log.share(entries[6:], ["x"]) == {}
        assert list(site.control.kept(audit.KIND)) == [each.key for each in entries[3:]]
        # An entry that it has forgotten does not come back from a site that still has it.
        other: dict[str, Any] = {each.key: asdict(each) for each in entries}
        behind: Any = SimpleNamespace(
            control=SimpleNamespace(
                kept=lambda kind: other,
                add=lambda kind, key, document: other.setdefault(key, document),
            )
        )
        audit.level({"x": site, "y": behind})
        assert list(site.control.kept(audit.KIND)) == list(other)[3:]
        log.share([audit.AuditEntry("2026-01-08 abc", "move", "me", "", 8)], ["x"])
        audit.level({"x": site, "y": behind})
        assert list(site.control.kept(audit.KIND)) == list(other)[4:]


def sound_beats(site: Site) -> list[Heartbeat]:
    return sound(site.control.heartbeats())


def another_control(site: Site) -> Control:
    """Return the control store of the same site as another process would open it."""
    control: Any = site.control
    if site.cloud == "gcp":
        return FirestoreControl(control._client, control._collection.id)
    return DynamoControl(control._client, control._table)


def put_raw(site: Site, kind: str, key: str, fields: dict[str, Any]) -> None:
    """Write a document that no code of mcloud would write."""
    control: Any = site.control
    if site.cloud == "gcp":
        name = "record" if kind == "control" else f"{kind}_{quote(key, safe=' :')}"
        control._collection.document(name).set({"kind": kind, "key": key, **fields})
        return
    from boto3.dynamodb.types import TypeSerializer

    values = {n: Decimal(str(v)) if isinstance(v, float) else v for n, v in fields.items()}
    item = {"kind": kind, "key": key, **values}
    serialize = TypeSerializer().serialize
    control._client.put_item(
        TableName=control._table, Item={name: serialize(value) for name, value in item.items()}
    )
