"""A gRPC server in this process, so that a test can set its clock and inspect its state."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from patience import PATIENCE

from mcloud.local.gcp.rpc import Service

# The size of the largest request that a test sends.
_OPTIONS = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]


class Serving:
    """Services on a free port of loopback, with an event loop in a thread."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.host = ""
        self._services = services
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def run(self, work: Callable[[], Any]) -> None:
        """Run ``work`` in the event loop of the services."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(work)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(PATIENCE)

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(self._services)
        self.host = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._ready.set()
        await self._stopped.wait()
        await server.stop(None)
