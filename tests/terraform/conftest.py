"""Plans of both modules, made once for all tests that only read them."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from mcloud.infra.bundle import build
from mcloud.local import children

from .module import Module, aws_module, gcp_module, provider_mirror, terraform

PROJECT = "mcloud-test"
START = 30.0  # seconds for the embedded AWS to start


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The functions' bundles as files, by cloud."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = {cloud: folder / f"{cloud}.zip" for cloud in ("aws", "gcp")}
    for cloud, path in paths.items():
        path.write_bytes(build(cloud))
    return {cloud: str(path) for cloud, path in paths.items()}


@pytest.fixture(scope="session")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty embedded AWS for these tests only."""
    terraform()
    provider_mirror()
    pytest.importorskip("ministack", reason="the embedded AWS needs the extra `local`")
    home = tmp_path_factory.mktemp("embedded-aws")
    (port,) = children.free_ports(1)
    child = children.aws(port, home, home / "data", 1.0)
    process = child.start(home, home / "log")
    try:
        give_up = time.monotonic() + START
        while not children.answers(child.address):
            assert time.monotonic() < give_up, (home / "log").read_text()
            time.sleep(0.1)
        yield f"http://{child.address}"
    finally:
        children.stop([process], patience=5)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, endpoint_url: str) -> Module:
    """The AWS module, for plans."""
    return aws_module(tmp_path_factory.mktemp("terraform") / "aws", endpoint_url)


@pytest.fixture(scope="session")
def aws_plan(aws: Module, bundles: dict[str, str]) -> dict[str, Any]:
    """A plan of everything that the AWS module can make, with its defaults."""
    return aws.plan(
        bundle=bundles["aws"],
        alert_email="ops@example.com",
        alert_publishers=["operator", "replicator"],
        alerts_key=True,
        tags={"team": "desk", "application": "theirs", "stack": "theirs"},
        monthly_budget=50,
        max_silence=900,
    )


@pytest.fixture(scope="session")
def small_aws_plan(aws: Module, bundles: dict[str, str]) -> dict[str, Any]:
    """The plan of a second stack without its optional parts."""
    return aws.plan(name="other", bundle=bundles["aws"], anomalies=False, compaction=False)


@pytest.fixture(scope="session")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> Module:
    """The Google module, for plans."""
    return gcp_module(tmp_path_factory.mktemp("terraform") / "gcp")


@pytest.fixture(scope="session")
def small_gcp_plan(gcp: Module, bundles: dict[str, str]) -> dict[str, Any]:
    """The plan of a second stack without its optional parts."""
    return gcp.plan(
        name="other", project=PROJECT, bundle=bundles["gcp"], anomalies=False, compaction=False
    )


@pytest.fixture(scope="session")
def gcp_plan(gcp: Module, gcp_everything: dict[str, object]) -> dict[str, Any]:
    """The plan of a stack with every optional part, and otherwise with the defaults."""
    return gcp.plan(**gcp_everything)


@pytest.fixture(scope="session")
def gcp_everything(bundles: dict[str, str]) -> dict[str, object]:
    """Variables with which the Google module makes everything that it can."""
    return {
        "project": PROJECT,
        "bundle": bundles["gcp"],
        "alert_email": "ops@example.com",
        "billing_account": "012345-6789AB-CDEF01",
        "max_silence": 900,
        "labels": {"team": "desk", "application": "theirs", "stack": "theirs"},
        "trusted_principals": ["group:traders@example.com"],
    }


@pytest.fixture(scope="session")
def applied_gcp(
    tmp_path_factory: pytest.TempPathFactory, gcp_everything: dict[str, object]
) -> Module:
    """Everything that the Google module can make, with its defaults, applied to nothing."""
    module = gcp_module(tmp_path_factory.mktemp("terraform") / "gcp-state")
    module.set(**gcp_everything)
    module.apply()
    return module


@pytest.fixture(scope="session")
def gcp_state(applied_gcp: Module) -> list[dict[str, Any]]:
    """The resources of ``applied_gcp``."""
    return applied_gcp.state()
