"""The text that Prometheus scrapes, parsed by the rules of its format."""

import re
import socket
import struct
import threading
from dataclasses import replace
from decimal import Decimal

import pytest
import requests
from drawing.test_figures import metrics
from drawing.test_monitor import AWS, GCP, MACHINE, WEST, snapshot
from patience import PATIENCE, eventually
from states import WATCHER, watcher

from mcloud.clouds.observation import Observation
from mcloud.errors import McloudError, Unavailable
from mcloud.observing.exposition import CONTENT_TYPE, HELP, exposition
from mcloud.observing.machine import Machine
from mcloud.observing.scrape import Listen, serving
from mcloud.observing.snapshot import Snapshot, collect
from mcloud.runs import Running
from observing.sites import AT, FakeSite
from observing.test_snapshot import METHODS

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(
    rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)"
)
HELP_LINE = re.compile(rf"# HELP ({NAME}) (\S.*)")
TYPE_LINE = re.compile(rf"# TYPE ({NAME}) gauge")

Series = dict[tuple[str, frozenset[str]], float]


def read(text: str) -> Series:
    """Return every sample by name and labels. Refuse text that the format does not allow."""
    assert text.endswith("\n")
    series: Series = {}
    names: list[str] = []
    announced = ""
    for line in text.splitlines():
        if help_ := HELP_LINE.fullmatch(line):
            assert help_[1] not in names, "a family comes once"
            names.append(help_[1])
        elif type_ := TYPE_LINE.fullmatch(line):
            assert type_[1] == names[-1]
            announced = type_[1]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1] == announced
            key = (sample[1], frozenset(re.findall(LABEL, sample[2] or "")))
            assert key not in series, line
            series[key] = float(sample[3])
    return series


def value(series: Series, name: str, *labels: str) -> float | None:
    return series.get((f"mcloud_{name}", frozenset(labels)))


def test_every_figure_is_there_with_its_labels() -> None:
    series = read(exposition(snapshot(AWS, GCP, WEST)))
    aws, gcp = 'site="aws"', 'site="gcp"'
    assert value(series, "up", aws) == 1
    assert value(series, "up", 'site="aws-west"') == 0
    assert value(series, "service_up", 'site="aws-west"', 'service="queue"') == 0
    assert value(series, "queue_messages", aws, 'state="ready"') == 12
    assert value(series, "queue_messages", aws, 'state="in_flight"') == 3
    assert value(series, "queue_oldest_age_seconds", aws) == 7
    assert value(series, "dead_letters", gcp) == 2
    assert value(series, "function_calls", aws) == 240
    assert value(series, "function_p95_seconds", aws) == 0.12
    assert value(series, "processed_trades", aws, 'symbol="BTCUSDT"') == 9757
    assert value(series, "last_candle_timestamp_seconds", aws, 'symbol="BTCUSDT"') == 1_723_161_240
    assert value(series, "last_candle_close", aws, 'symbol="BTCUSDT"') == 61837.5
    assert value(series, "missing_trades", gcp, 'symbol="BTCUSDT"') == 2
    pair = ('source="gcp"', 'target="aws"', 'part="all"')
    assert value(series, "replication_lag_seconds", *pair, 'what="candles"') == 1.2
    assert value(series, "primary", aws) == 1
    assert value(series, "primary", gcp) == 0
    assert value(series, "epoch", aws) == 3
    assert value(series, "cost_month_to_date_dollars", aws) == 1.234
    assert value(series, "cost_per_hour_dollars", aws) == 0.0021
    assert value(series, "producer_waiting_trades", 'producer="default"', gcp) == 1999
    assert value(series, "producer_breaker_closed", 'producer="default"', gcp) == 0
    assert value(series, "figure_age_seconds", gcp, 'figure="queue depth"') == 150
    assert value(series, "wrong") == 6
    assert value(series, "dashboard_dollars_per_month") == 1.78
    named = {name.removeprefix("mcloud_") for name, _ in series}
    assert named <= set(HELP)
    # No guard and no watcher of alerts runs there, no site has answered completely, and silences
    # were not queried.
    absent = {"guard_running", "alerts_firing", "alerts_silenced", "damaged_documents", "silences"}
    assert set(HELP) - named == absent


def test_unknown_figures_are_absent_and_never_zero() -> None:
    error = Unavailable("it is down")
    dark = read(exposition(collect({"aws": FakeSite("aws", **dict.fromkeys(METHODS, error))})))
    assert {name for name, _ in dark} == {"mcloud_up", "mcloud_service_up", "mcloud_wrong"}
    assert value(dark, "up", 'site="aws"') == 0
    site = replace(AWS, **metrics(calls=None, p95=None))
    series = read(exposition(Snapshot(AT, {"aws": site})))
    assert value(series, "function_calls", 'site="aws"') is None
    assert value(series, "function_errors", 'site="aws"') == 0
    assert value(series, "figure_age_seconds", 'site="aws"', 'figure="calls"') is None
    assert read(exposition(Snapshot(AT, {}))) == {("mcloud_wrong", frozenset()): 0}


def test_before_the_first_answer_a_site_is_neither_up_nor_down() -> None:
    asking = replace(AWS, health=dict.fromkeys(AWS.health, Observation()))
    series = read(exposition(Snapshot(AT, {"aws": asking})))
    assert value(series, "up", 'site="aws"') is None
    assert value(series, "service_up", 'site="aws"', 'service="queue"') is None


def test_labels_are_escaped() -> None:
    odd = Machine(producers=(Running('a"b\\c\nd', False),))
    text = exposition(Snapshot(AT, {}, Observation(odd, AT)))
    assert 'mcloud_producer_running{producer="a\\"b\\\\c\\nd"} 0\n' in text
    read(text)


def test_alerts_and_guards_are_counted_while_their_processes_run() -> None:
    fires = {**WATCHER["firing"][0], "silenced": None}
    state = watcher(firing=[{**fires, "key": "a"}, {**fires, "key": "b"}])
    watched = replace(
        MACHINE,
        alerts=(Running("alerts", True, state),),
        guards=(Running("guard", True),),
    )
    series = read(exposition(Snapshot(AT, {}, Observation(watched, AT), upkeep=Decimal(0))))
    assert value(series, "alerts_firing") == 2
    assert value(series, "guard_running", 'guard="guard"') == 1


class TestScrape:
    def test_metrics_are_served_at_one_path_to_local_clients(self) -> None:
        with serving(Listen(), lambda: exposition(snapshot(AWS))) as url:
            assert url.startswith("http://127.0.0.1:")
            answer = requests.get(url, timeout=30)
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert value(read(answer.text), "up", 'site="aws"') == 1
            assert requests.get(url.replace("/metrics", "/"), timeout=30).status_code == 404
            elsewhere = requests.get(url, headers={"Host": "evil.example:80"}, timeout=30)
            assert elsewhere.status_code == 403

    def test_a_taken_port_is_reported(self) -> None:
        with serving(Listen(), str) as url:
            port = int(url.split(":")[2].partition("/")[0])
            with (
                pytest.raises(McloudError, match=rf"port {port} on 127.0.0.1: .*; .* --port"),
                serving(Listen(port=port), str),
            ):
                pass

    def test_head_has_the_headers_of_get(self) -> None:
        with serving(Listen(), lambda: "a 1\n") as url:
            answer = requests.head(url, timeout=30)
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "4")
        assert answer.headers["Content-Type"] == CONTENT_TYPE

    def test_a_client_that_disconnects_causes_no_error(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The command prints no traceback, and serves the next client."""
        gone, ended = threading.Event(), threading.Event()

        def text() -> str:
            if gone.wait(PATIENCE):
                ended.set()
            return "a 1\n" * 5_000_000

        with serving(Listen(), text) as url:
            port = int(url.split(":")[2].partition("/")[0])
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            # The connection is reset at once.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            gone.set()
            assert ended.wait(PATIENCE)
            assert requests.get(url, timeout=PATIENCE).text.startswith("a 1")
            eventually(
                lambda: not [t for t in threading.enumerate() if "process_request" in t.name]
            )
        assert capfd.readouterr().err == ""
