"""The stand-in for Google's provider in this process, which a test can slow down or fail."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2 as pb,
)
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2_grpc as rpc,
)

from .google_stub import GoogleStub, pack, reattach, unpack

PATIENCE = 60.0  # seconds


class Google(GoogleStub):
    """The stand-in provider, controlled by a test."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self.environment: dict[str, str] = {}
        """Environment variables that make every terraform use it."""
        self.reset()

    def reset(self) -> None:
        self.configuring = ""
        """Error of the provider when it is configured; empty for none."""
        self.refused: dict[str, str] = {}
        """Errors of the cloud when a resource is created or changed, by kind."""
        self.refusals: dict[str, int] = {}
        """Number of refusals by kind; without one, every request is refused."""
        self.unfinished: set[str] = set()
        """Kinds of which a refused resource exists nevertheless."""
        self.when_refused: Callable[[], None] = lambda: None
        self.changed: dict[str, dict[str, Any]] = {}
        """Attributes that somebody has changed outside Terraform, by kind."""
        self.has: Callable[[str], bool] = lambda kind: True
        """Returns False for a kind of which the cloud has no resource, as with another account."""
        self.fixed: dict[str, str] = {}
        """An attribute that cannot be changed in place, by kind."""
        self.held = ""
        """A kind of which creations and changes wait for ``release``."""
        self.reached = threading.Event()
        self.release = threading.Event()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return pb.ConfigureProvider.Response(diagnostics=complaint(self.configuring))

    def ReadResource(self, request: Any, context: Any) -> Any:
        if not self.has(request.type_name):
            return pb.ReadResource.Response(new_state=pack(None))
        changes = self.changed.get(request.type_name)
        if not changes:
            return super().ReadResource(request, context)
        state = {**unpack(request.current_state), **changes}
        return pb.ReadResource.Response(new_state=pack(state))

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        planned = super().PlanResourceChange(request, context)
        name = self.fixed.get(request.type_name, "")
        before, after = unpack(request.prior_state), unpack(request.proposed_new_state)
        if name and before and after and before[name] != after[name]:
            step = pb.AttributePath.Step(attribute_name=name)
            planned.requires_replace.append(pb.AttributePath(steps=[step]))
        return planned

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        if request.type_name == self.held:
            self.reached.set()
            assert self.release.wait(PATIENCE)
        refusal = self._refusal(request.type_name)
        if not refusal:
            return super().ApplyResourceChange(request, context)
        self.when_refused()
        state = request.prior_state
        if request.type_name in self.unfinished:
            state = super().ApplyResourceChange(request, context).new_state
        return pb.ApplyResourceChange.Response(new_state=state, diagnostics=complaint(refusal))

    def _refusal(self, kind: str) -> str:
        with self._counting:
            left = self.refusals.get(kind, 1)
            if kind in self.refusals:
                self.refusals[kind] = max(0, left - 1)
            return self.refused.get(kind, "") if left else ""


def complaint(summary: str) -> list[Any]:
    return [pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary)] if summary else []


@contextmanager
def serving(folder: Path) -> Iterator[Google]:
    google = Google()
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[(SEND, -1), (RECEIVE, -1)])
    rpc.add_ProviderServicer_to_server(google, server)
    server.add_insecure_port(f"unix://{folder}/google.sock")
    server.start()
    google.environment = reattach(f"{folder}/google.sock")
    try:
        yield google
    finally:
        google.release.set()
        server.stop(0)


SEND, RECEIVE = "grpc.max_send_message_length", "grpc.max_receive_message_length"
