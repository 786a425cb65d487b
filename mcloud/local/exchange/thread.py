"""The local exchange in a thread of this process.

    with LocalExchange(trades) as exchange:
        client = connect(exchange.ws_url + "/ws/btcusdt@trade")
        exchange.fault("stall", symbol="BTCUSDT", seconds=5)
        exchange.wait_finished()
        exchange.played("BTCUSDT")

Another process has the same functions over HTTP:
``/_mcloud/fault?kind=stall&symbol=BTCUSDT&seconds=5``,
``/_mcloud/status?symbol=BTCUSDT&status=BREAK``, ``/_mcloud/lift``, ``/_mcloud/begin`` and
``/_mcloud/state``.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mcloud.errors import LocalError
from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.certificate import make_certificate
from mcloud.local.exchange.faults import Fault
from mcloud.local.exchange.limits import Limits
from mcloud.local.exchange.server import HOST, ExchangeServer
from mcloud.market.trade import Trade

T = TypeVar("T")


class LocalExchange:
    """An exchange in a thread of this process. All its methods may be called from any thread.

    Args:
        trades: a feed, or any trades in the order in which they are made; for ``endless``,
            an iterable that can be iterated repeatedly.
        speed: 1.0 for the original speed, a factor, or None for as fast as the clients read.
        port: 0 for any free port.
        wait_for: number of streams that must be subscribed to before the playback begins: 0 begins
            at once, 2 waits for two streams.
        endless: begin again at the end, with continuing ids and times.
        history: length of time in seconds, from the first trade on, of which the trades are made
            before the exchange starts.
        limits: limits for clients.
        seed: seed of the shuffling by the fault ``reorder``.
        symbols: symbols that are listed in addition to those of the first trades.
        certificate: a file to which a new certificate for loopback is written, for clients to
            trust; the exchange then serves ``wss`` and ``https`` only.
    """

    def __init__(
        self,
        trades: Iterable[Trade],
        *,
        speed: float | None = None,
        port: int = 0,
        wait_for: int = 1,
        endless: bool = False,
        history: float = 0.0,
        limits: Limits | None = None,
        seed: int = 1,
        symbols: Collection[str] = (),
        certificate: Path | None = None,
    ) -> None:
        self._server = ExchangeServer(
            trades,
            speed=speed,
            wait_for=wait_for,
            endless=endless,
            history=history,
            limits=limits or Limits(),
            seed=seed,
            symbols=symbols,
            tls=make_certificate(certificate) if certificate else None,
        )
        self.certificate = certificate
        self._port = port
        self._ready = threading.Event()
        self._finished = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)

    @property
    def ws_url(self) -> str:
        """Base URL of the WebSocket streams, like Binance's ``wss://stream.binance.com:9443``."""
        return f"{'wss' if self.certificate else 'ws'}://{HOST}:{self._port}"

    @property
    def rest_url(self) -> str:
        """Base URL of the REST API, like Binance's ``https://api.binance.com``."""
        return f"{'https' if self.certificate else 'http'}://{HOST}:{self._port}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that exchangeInfo lists."""
        return self._call(lambda: self._server.symbols)

    def start(self) -> Self:
        """Start to listen.

        Raises:
            LocalError: the port is taken.
        """
        self._thread.start()
        self._ready.wait()
        if isinstance(self._error, OSError):
            raise LocalError(
                f"the exchange cannot listen on port {self._port}: {self._error.strerror}",
                remedy="choose another port with --port",
            )
        self._raise_error()
        return self

    def stop(self) -> None:
        """Close all connections and stop. The played trades can still be read."""
        if self._thread.is_alive():
            self._call(self._stop.set)
            self._thread.join()

    def begin(self) -> None:
        """Start the playback, even if no client is connected."""
        self._call(self._server.begin)

    def fault(self, kind: str, **fields: Any) -> None:
        """Start a fault of one of ``faults.KINDS``.

        Raises:
            UsageError: the fault does not exist, or it requires another field.
        """
        fault = Fault(kind, **fields)
        self._call(lambda: self._server.fault(fault))

    def lift(self) -> None:
        """End the current faults."""
        self._call(self._server.lift)

    def set_status(self, symbol: str, status: str) -> None:
        """List a symbol (``TRADING``), halt it (``BREAK``) or delist it (an empty status)."""
        self._call(lambda: self._server.set_status(symbol, status))

    def played(self, symbol: str) -> list[Trade]:
        """Return the trades made so far, in the order of their ids, including those that were not
        sent.
        """
        return self._call(lambda: self._server.ledger.tape.since(symbol, 0))

    def aggregates(self, symbol: str) -> list[Aggregate]:
        """Return the aggregate trades so far, by id."""
        return self._call(lambda: self._server.ledger.aggregates.since(symbol, 0))

    def voids(self, symbol: str) -> dict[int, str]:
        """Return the ids that a fault ``void`` has used, with the reasons that were sent."""
        return self._call(lambda: dict(self._server.voids[symbol]))

    def state(self) -> dict[str, Any]:
        """Return the state, as in ``/_mcloud/state``: trades made, connections and their streams,
        faults."""
        return self._call(self._server.state)

    def wait_finished(self, timeout: float | None = None) -> bool:
        """Wait until all trades are made and all clients have received their messages.

        Return False if that did not happen within ``timeout`` seconds, or before ``stop``. Errors
        of the feed are raised here.
        """
        self._finished.wait(timeout)
        self._raise_error()
        return self._server.finished

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised in ``wait_finished``
            self._error = error
        self._ready.set()
        self._finished.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._server.run(
            self._port, on_start=self._note_start, on_finish=self._finished.set, stop=self._stop
        )

    def _note_start(self, port: int) -> None:
        self._port = port
        self._ready.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's thread, or in this one after the server has stopped."""
        if not self._thread.is_alive():
            return function()

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()
