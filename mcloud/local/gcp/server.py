"""The embedded Google services: ``python -m mcloud.local.gcp.server --port P [--state DIR]``.

One process serves Pub/Sub, Firestore and Cloud Monitoring on one port of 127.0.0.1, without TLS or
credentials, like Google's emulators. With ``--storage`` and ``--function`` it also opens the
reverse proxies in front of the two servers of other projects. It prints "ready" on stdout when it
answers, and stops on SIGTERM or SIGINT. With ``--state`` it continues from the state at its last
stop, and otherwise writes nothing to the disk. With ``--home`` it applies outages. With
``--bridge`` it also does the work of a Cloud Storage subscription for another Pub/Sub.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from mcloud import files
from mcloud.local.gcp import bill
from mcloud.local.gcp.firestore import Firestore
from mcloud.local.gcp.monitoring import Monitoring
from mcloud.local.gcp.monitoring_operations import Operations
from mcloud.local.gcp.pubsub import PubSub
from mcloud.local.gcp.pubsub_bridge import Bridge, BridgeOptions
from mcloud.local.gcp.pubsub_export import Buckets
from mcloud.local.gcp.reverse_proxy import open_proxy
from mcloud.local.gcp.rpc import Refusal, Service
from mcloud.local.meter import SAVE_SECONDS, Meter
from mcloud.local.outage import SLOW, Outages

HOST: Final = "127.0.0.1"
STATE_FILE: Final = "gcp.json"
STATE_VERSION: Final = 1
# Above the limits of the services (10 MiB), so that each service returns its own error.
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
PROXIES: Final = {"storage": "archive", "function": "function"}
GATED: Final = {"Pub/Sub": "queue", "Firestore": "candles"}
GATE_POLL: Final = 0.1  # seconds between two checks of whether a hanging service is back
STOP_SECONDS: Final = 0.5  # time for requests in progress to finish


class Product(Protocol):
    """Interface that Pub/Sub, Firestore and Cloud Monitoring implement for the server."""

    def services(self) -> list[Service]: ...

    def dump(self) -> dict[str, Any]: ...

    def load(self, dump: dict[str, Any]) -> None: ...


class Gate:
    """Passed by every call before it is answered. A call whose client disconnects is cancelled
    here.
    """

    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    async def __call__(self, product: str) -> None:
        service = GATED.get(product)
        outage = self._outages.on(service)
        if outage is None:
            return
        if outage.how == "refuse":
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable.")
        if outage.how == "throttle" and self._outages.throttles(service):
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, f"Quota exceeded for {product}.")
        if outage.how == "slow":
            await asyncio.sleep(SLOW)
        while outage is not None and outage.how == "hang":
            await asyncio.sleep(GATE_POLL)
            outage = self._outages.on(service)


@dataclass(frozen=True)
class Exports:
    """Settings of the subscriptions that write to Cloud Storage."""

    storage_url: str | None = None
    """URL of Cloud Storage; None if there is none, and no such subscriptions."""
    longest: float | None = None
    """See ``PubSub``."""
    bridge: BridgeOptions | None = None
    """Another Pub/Sub, which has no such subscriptions itself."""


class StartError(Exception):
    """Raised if the server cannot start. The message has the reason in one line."""


def main() -> int:
    """Serve until a signal. Return 0, or 1 after one line on stderr if it could not start."""
    arguments = argparse.ArgumentParser(prog="mcloud.local.gcp.server", description=__doc__)
    arguments.add_argument("--port", type=int, required=True, help="0 takes a free one")
    arguments.add_argument("--state", type=Path, help="a folder; created if it does not exist")
    arguments.add_argument("--home", type=Path, help="of the embedded clouds")
    arguments.add_argument("--storage-url", help="Cloud Storage of subscriptions that write there")
    arguments.add_argument(
        "--export-seconds", type=float, help="longest time until they write an object"
    )
    arguments.add_argument(
        "--bridge", type=BridgeOptions.parse, help="another Pub/Sub, as BridgeOptions.encode()"
    )
    for name in PROXIES:
        arguments.add_argument(f"--{name}", type=_ports, help="PORT:PORT-BEHIND", metavar="P:B")
    options = arguments.parse_args()
    if not options.home and (options.storage or options.function):
        arguments.error("--storage and --function need --home")
    if options.bridge and not options.storage_url:
        arguments.error("--bridge needs --storage-url")
    proxies = {
        service: ports for name, service in PROXIES.items() if (ports := getattr(options, name))
    }
    try:
        exports = Exports(options.storage_url, options.export_seconds, options.bridge)
        asyncio.run(serve(options.port, options.state, options.home, proxies, exports))
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def serve(
    port: int,
    state: Path | None,
    home: Path | None = None,
    proxies: Mapping[str, tuple[int, int]] | None = None,
    exports: Exports | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        port: port of mcloud's own services.
        state: folder of their state.
        home: folder of the embedded clouds, which contains the outages.
        proxies: by service of another project, its port and the port of the server behind it.
        exports: settings of the subscriptions that write to Cloud Storage.

    Raises:
        StartError: the port is taken, or the state cannot be read.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    outages, meter = (Outages(home, "gcp"), Meter(home, "gcp")) if home else (None, None)
    exports = exports or Exports()
    buckets = Buckets(exports.storage_url) if exports.storage_url else None
    if outages and meter:
        pubsub = PubSub(
            time.time,
            outages.stops,
            partial(_count_push, meter),
            partial(_count_export, meter),
            buckets,
            exports.longest,
        )
    else:
        pubsub = PubSub(time.time, buckets=buckets, longest=exports.longest)
    bridge = None
    if exports.bridge and buckets:
        exported = partial(_count_export, meter) if meter else _count_nothing
        bridge = Bridge(exports.bridge, buckets, time.time, exported, exports.longest)
        pubsub.flush_also(bridge.flush)
    monitoring = Monitoring(pubsub.observe, time.time)
    products: dict[str, Product] = {
        "pubsub": pubsub,
        "firestore": Firestore(time.time_ns),
        "monitoring": monitoring,
    }
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # Clients ping idle streams more often than gRPC servers allow by default.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    for product in products.values():
        services = product.services()
        for service in services:
            if outages and meter:
                service.gate = Gate(outages)
                service.count = partial(_count_call, meter, monitoring.operations)
        server.add_generic_rpc_handlers(services)
    port = _bind(server, port)
    # The state is read after the port is taken, because another server on the port may still write
    # it.
    if state:
        load_state(state, products)
    await server.start()
    for name, (front, behind) in (proxies or {}).items():
        assert outages is not None
        assert meter is not None
        try:
            await open_proxy(HOST, front, behind, name, outages, meter)
        except OSError as error:
            raise StartError(f"cannot listen on {HOST}:{front}: {error.strerror}") from error
    # Objects that were loaded at start-up stay. Without this, every full collection would traverse
    # all of them.
    gc.collect()
    gc.freeze()
    chores = [
        asyncio.create_task(chore)
        for chore in (
            monitoring.sample_forever(),
            *([pubsub.wake_forever(), _save_forever(meter)] if meter else []),
            *([bridge.run_forever()] if bridge else []),
        )
    ]
    print(f"ready on {HOST}:{port}", flush=True)
    await stop.wait()
    for chore in chores:
        chore.cancel()
    pubsub.close()
    if bridge:
        await bridge.close()
    await server.stop(STOP_SECONDS)
    if state:
        save_state(state, products)
    if meter:
        meter.save()


def load_state(folder: Path, products: Mapping[str, Product]) -> None:
    """Load the saved state of each product, if the folder has one.

    Raises:
        StartError: the state is damaged, or another version's.
    """
    path = folder / STATE_FILE
    try:
        state = json.loads(path.read_bytes())
        if state["version"] != STATE_VERSION:
            raise StartError(
                f"{path} is of version {state['version']}, not {STATE_VERSION}: "
                "remove it with `mcloud local reset`"
            )
        for name, product in products.items():
            product.load(state[name])
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError, DecodeError) as error:
        raise StartError(
            f"{path} is damaged ({error}): remove it with `mcloud local reset`"
        ) from error


def save_state(folder: Path, products: Mapping[str, Product]) -> None:
    """Write the state of all products completely, or leave the old state unchanged."""
    state = {name: product.dump() for name, product in products.items()}
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / STATE_FILE, json.dumps({"version": STATE_VERSION, **state}))


def _count_call(
    meter: Meter, operations: Operations, service: str, method: str, request: Any, answer: Any
) -> None:
    for name, resource, units in bill.call(service, method, request, answer):
        meter.add(name, resource, units)
        if service == bill.FIRESTORE:
            operations.add(name, bill.database(request, answer), units)


def _count_push(meter: Meter, subscription: str, message: Any) -> None:
    size = max(bill.PUBSUB_MINIMUM, bill.message_bytes(message))
    meter.add("pubsub_bytes", subscription, size)


def _count_export(meter: Meter, subscription: str, message: Any) -> None:
    meter.add("pubsub_export_bytes", subscription, bill.message_bytes(message))


def _count_nothing(subscription: str, message: Any) -> None:
    """Without the folder of embedded clouds, there is no meter."""


async def _save_forever(meter: Meter) -> None:
    while True:
        await asyncio.sleep(SAVE_SECONDS)
        meter.save()


def _ports(text: str) -> tuple[int, int]:
    front, _, behind = text.partition(":")
    return int(front), int(behind)


def _bind(server: Any, port: int) -> int:
    # gRPC writes its own lines if a port is taken, so this is checked first.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StartError(f"cannot listen on {HOST}:{port}: {error.strerror}") from error
    try:
        return int(server.add_insecure_port(f"{HOST}:{port}"))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {HOST}:{port}: {error}") from error


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # A push that still waits for its endpoint must not delay the exit: its message is saved as not
    # acknowledged.
    os._exit(status)
