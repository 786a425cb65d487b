"""The stand-in for Google's provider in this process, which a test can slow down or fail."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from discovery.google import Google as Cloud
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2 as pb,
)
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2_grpc as rpc,
)

from .google_stub import GoogleStub, pack, reattach, unpack
from .rest import KINDS, Refused, Resources

PATIENCE = 60.0  # seconds
YEAR = 365 * 24 * 3600


class Google(GoogleStub):
    """The stand-in provider, controlled by a test."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self.environment: dict[str, str] = {}
        """Environment variables that make every terraform use it."""
        self._project = ""
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
        self.cloud: Cloud | None = None
        """The cloud in which the kinds of ``rest.KINDS`` exist; None if they exist nowhere."""

    def use_cloud(self) -> Cloud:
        """Create an empty cloud, which refuses what Google refuses."""
        self.cloud = Cloud()
        # Years pass between any two looks at the clock, so that every name can be used again.
        self.cloud.settings.clock = count(step=YEAR).__next__
        return self.cloud

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        self._project = unpack(request.config)["project"]
        if self.cloud:
            self.cloud.settings.projects.setdefault(self._project, "123456789012")
        return pb.ConfigureProvider.Response(diagnostics=complaint(self.configuring))

    def ReadResource(self, request: Any, context: Any) -> Any:
        kind, state = request.type_name, unpack(request.current_state)
        resources = self._resources(kind)
        if not self.has(kind) or (resources and not resources.exists(kind, state)):
            return pb.ReadResource.Response(new_state=pack(None))
        if resources and kind == "google_monitoring_dashboard":
            state["dashboard_json"] = resources.dashboard(state)
        return pb.ReadResource.Response(new_state=pack({**state, **self.changed.get(kind, {})}))

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
            return self._apply(request, context)
        self.when_refused()
        state = request.prior_state
        if request.type_name in self.unfinished:
            state = self._apply(request, context).new_state
        return pb.ApplyResourceChange.Response(new_state=state, diagnostics=complaint(refusal))

    def _apply(self, request: Any, context: Any) -> Any:
        kind, resources = request.type_name, self._resources(request.type_name)
        before, after = unpack(request.prior_state), unpack(request.planned_state)
        try:
            if resources and after is None:
                resources.delete(kind, before)
            elif resources and before is None:
                known = resources.create(kind, after)
                new = {name: known.get(name, value) for name, value in after.items()}
                request.planned_state.CopyFrom(pack(new))
            elif resources:
                resources.change(kind, before, after)
        except Refused as error:
            return pb.ApplyResourceChange.Response(
                new_state=request.prior_state, diagnostics=complaint(str(error))
            )
        return super().ApplyResourceChange(request, context)

    def _resources(self, kind: str) -> Resources | None:
        """Return the resources of a kind in the cloud; None if they exist nowhere."""
        return Resources(self.cloud, self._project) if self.cloud and kind in KINDS else None

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
