"""A stand-in for Google's Terraform provider, for machines that cannot download it.

It serves the schema of hashicorp/google 7.45.0 (``google-7.45.0.json``, from ``terraform providers
schema -json``, reduced to what the module uses) over Terraform's plugin protocol 6. Applied
resources exist only in Terraform's state. Terraform itself therefore finds unknown and missing
arguments, wrong types, bad references, cycles, outputs and variables. The checks of Google's code
(ranges, name patterns, conflicting arguments) are not made.

``google_stub.py -- COMMAND [ARGUMENT …]`` runs COMMAND so that every terraform in it uses the
stand-in. Needs the PyPI packages tf (for its protocol classes) and msgpack.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack  # type: ignore[import-not-found,import-untyped,unused-ignore]
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2 as pb,
)
from tf.gen import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    tfplugin_pb2_grpc as rpc,
)

SCHEMA = json.loads((Path(__file__).parent / "google-7.45.0.json").read_text())
SOURCE = "registry.terraform.io/hashicorp/google"
UNKNOWN = msgpack.ExtType(0, b"\0")

Spec = Mapping[str, Any]


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/google.sock"
        unlimited = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
        ]
        server = grpc.server(futures.ThreadPoolExecutor(4), options=unlimited)
        rpc.add_ProviderServicer_to_server(GoogleStub(), server)
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        try:
            code = subprocess.call(sys.argv[2:], env=os.environ | reattach(socket))
        finally:
            server.stop(0)
    sys.exit(code)


def reattach(socket: str) -> dict[str, str]:
    """Return the environment variable that makes Terraform use a running provider."""
    provider = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,
        "Addr": {"Network": "unix", "String": socket},
    }
    return {"TF_REATTACH_PROVIDERS": json.dumps({SOURCE: provider})}


class GoogleStub(rpc.ProviderServicer):  # type: ignore[misc,unused-ignore]
    def GetMetadata(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not offered")

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        def schemas(kind: str) -> dict[str, Any]:
            return {
                name: pb.Schema(version=0, block=block(spec["block"]))
                for name, spec in SCHEMA[kind].items()
            }

        return pb.GetProviderSchema.Response(
            provider=pb.Schema(version=0, block=block(SCHEMA["provider_block"]["block"])),
            resource_schemas=schemas("resource_schemas"),
            data_source_schemas=schemas("data_source_schemas"),
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return pb.UpgradeResourceState.Response(
            upgraded_state=pack(json.loads(request.raw_state.json))
        )

    def ReadResource(self, request: Any, context: Any) -> Any:
        return pb.ReadResource.Response(new_state=request.current_state)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        name = request.type_name
        state = settle(
            SCHEMA["data_source_schemas"][name]["block"], unpack(request.config), name, known=True
        )
        return pb.ReadDataSource.Response(state=pack(state))

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        proposed = unpack(request.proposed_new_state)
        if proposed is None or unpack(request.prior_state) is not None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        name = request.type_name
        planned = settle(SCHEMA["resource_schemas"][name]["block"], proposed, name, known=False)
        return pb.PlanResourceChange.Response(planned_state=pack(planned))

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        planned = unpack(request.planned_state)
        if planned is None:
            return pb.ApplyResourceChange.Response(new_state=request.planned_state)
        names = [*map(planned.get, ("name", "account_id", "role_id")), request.type_name]
        label = next(name for name in names if isinstance(name, str))
        spec = SCHEMA["resource_schemas"][request.type_name]["block"]
        return pb.ApplyResourceChange.Response(
            new_state=pack(settle(spec, planned, label, known=True))
        )

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()


def block(spec: Spec) -> Any:
    """Return the schema of a recorded block in the format of the protocol."""
    nesting = pb.Schema.NestedBlock.NestingMode
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(item["type"]).encode(),
                **{each: True for each in FLAGS if item.get(each)},
            )
            for name, item in sorted(spec.get("attributes", {}).items())
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=block(item["block"]),
                nesting=nesting.Value(item["nesting_mode"].upper()),
                min_items=item.get("min_items", 0),
                max_items=item.get("max_items", 0),
            )
            for name, item in sorted(spec.get("block_types", {}).items())
        ],
    )


FLAGS = ("required", "optional", "computed", "sensitive")


def settle(
    spec: Spec, value: Mapping[str, Any] | None, label: str, *, known: bool
) -> dict[str, Any]:
    """Leave values that only the cloud knows unknown (in a plan), or invent them (after it)."""
    out = dict(value or {})
    for name, item in spec.get("attributes", {}).items():
        now = out.get(name)
        if item.get("computed") and (now is None or isinstance(now, msgpack.ExtType)):
            out[name] = invent(name, item["type"], label) if known else UNKNOWN
        else:
            out.setdefault(name, None)
    for name, item in spec.get("block_types", {}).items():
        if item["nesting_mode"] == "single":
            out.setdefault(name, None)
        else:
            inner = f"{label}-{name}"
            out[name] = [
                settle(item["block"], each, inner, known=known) for each in out.get(name) or []
            ]
    return out


def invent(name: str, kind: Any, label: str) -> Any:
    """Return a plausible value for an attribute."""
    if isinstance(kind, list):
        return {} if kind[0] == "map" else []
    if kind in ("number", "bool"):
        return {"number": 1, "bool": False}[kind]
    if name in ("email", "service_account_email"):
        return f"{label}@stub.iam.gserviceaccount.com"
    if name == "member":
        return f"serviceAccount:{label}@stub.iam.gserviceaccount.com"
    if name in ("uri", "url", "self_link"):
        return f"https://{label}.stub"
    return f"{label}-{name}"


def unpack(dynamic: Any) -> Any:
    raw = dynamic.msgpack
    return msgpack.unpackb(raw, raw=False, strict_map_key=False) if raw else None


def pack(value: Any) -> Any:
    return pb.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True))


if __name__ == "__main__":
    main()
