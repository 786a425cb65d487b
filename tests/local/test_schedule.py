"""The scheduled functions are called at their intervals, on both embedded clouds."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from patience import eventually

from mcloud.clouds.anomalies import UNTOLD, recent, store
from mcloud.clouds.factory import open_site
from mcloud.local import children, control
from mcloud.local.schedule import PERIODS, Schedule
from mcloud.local.supervisor import Options
from mcloud.market.anomaly import Anomaly


class Function(BaseHTTPRequestHandler):
    """Records each call, and answers with a given status when it is released."""

    calls: ClassVar[list[tuple[str, str | None]]] = []
    may_answer = threading.Event()
    answer = 200

    def do_POST(self) -> None:
        self.calls.append((self.path, self.headers["X-CloudScheduler"]))
        self.may_answer.wait()
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Function.calls.clear()
    Function.may_answer.set()
    Function.answer = 200
    server = HTTPServer(("127.0.0.1", 0), Function)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Function.may_answer.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", PERIODS)
def test_the_function_is_called_when_due_and_never_twice_at_once(
    url: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    schedule = Schedule(url, name, lambda: now)
    schedule.tick()
    assert schedule._call is None
    Function.may_answer.clear()
    now += PERIODS[name]
    schedule.tick()
    eventually(lambda: Function.calls == [(f"/{name}/", "true")])
    now += PERIODS[name]
    schedule.tick()  # the first call has not returned
    Function.answer = 500
    Function.may_answer.set()
    schedule._call.join()
    assert f"the function {name} failed, or was not reached: {url}/{name}/: HTTP 500" in (
        capsys.readouterr().out
    )
    schedule.tick()
    eventually(lambda: len(Function.calls) == 2)
    schedule.tick()
    assert len(Function.calls) == 2


@pytest.mark.slow
def test_within_a_minute_both_sites_send_their_anomalies(tmp_path: Path) -> None:
    home = tmp_path / "local"
    state = control.up(Options(str(home), *children.free_ports(4)))
    try:
        sites = {name: open_site(name, each) for name, each in state.resources().items()}
        found = Anomaly("BTCUSDT", 0, "price-jump", *[Decimal(1)] * 4, 1, True)
        for site in sites.values():
            store(site.control, found)
        for site in sites.values():
            eventually(lambda site=site: not site.control.kept(UNTOLD), pause=1)
            assert recent(site.control, 0) == [found]
    finally:
        control.down(home)
