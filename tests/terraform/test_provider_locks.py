"""`mcloud lock`, and deployments with its files.

Terraform is real. It takes small packages, in which no provider is, from a mirror on the disk.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path
from threading import Event

import pytest
from cli.conftest import Terminal

from mcloud.config import Config, load
from mcloud.errors import McloudError
from mcloud.infra.bundle import module_files
from mcloud.infra.provider_locks import PLATFORMS, lock, path_of
from mcloud.infra.state_errors import LOCK_FILE
from mcloud.infra.terraform import Terraform
from mcloud.infra.workspace import Workspace

from .module import terraform

PROVIDERS = {"aws": "5.100.0", "google": "7.45.0"}
NEWER = "6.1.0"
ADDRESS = "registry.terraform.io/hashicorp"


def package(mirror: Path, name: str, version: str, content: str = "program") -> None:
    """Put a package for each platform into a mirror; the program in it is none."""
    folder = mirror / ADDRESS / name
    folder.mkdir(parents=True, exist_ok=True)
    for platform in PLATFORMS:
        path = folder / f"terraform-provider-{name}_{version}_{platform}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            program = zipfile.ZipInfo(f"terraform-provider-{name}_v{version}")
            program.external_attr = 0o755 << 16
            archive.writestr(program, f"{content} for {platform}")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    terraform()
    mirror = tmp_path / "mirror"
    for name, version in PROVIDERS.items():
        package(mirror, name, version)
    return mirror


@pytest.fixture
def config(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "mcloud.toml").write_text(
        f'[terraform]\nplugin_dir = "{mirror}"\n'
        '[profiles.prod.sites.aws]\ncloud = "aws"\nregion = "us-east-1"\n'
    )
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", os.devnull)
    return load("prod", tmp_path, {})


def initialise(config: Config) -> None:
    """Run `terraform init` as a deployment on another machine does, which has no packages yet."""
    workspace = Workspace(config, config.sites["aws"])
    shutil.rmtree(workspace.folder / ".terraform", ignore_errors=True)
    with workspace.locked():
        workspace.write()
        program = Terraform(
            workspace.folder, terraform(), environment=dict(os.environ), stop=Event()
        )
        program.init(config.terraform.plugin_dir, workspace.lock_file)


def hashes(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if '"h1:' in line]


def test_each_cloud_gets_the_checksums_of_all_platforms(config: Config) -> None:
    for cloud, provider in (("aws", "aws"), ("gcp", "google")):
        done = lock(config, cloud)
        assert done.path == config.document.path.parent / f"mcloud.{cloud}.lock.hcl"
        assert done.providers == {f"{ADDRESS}/{provider}": PROVIDERS[provider]}
        assert len(set(hashes(done.path))) == len(PLATFORMS)


def test_versions_are_kept_until_an_upgrade(config: Config, mirror: Path) -> None:
    lock(config, "aws")
    package(mirror, "aws", NEWER)
    assert lock(config, "aws").providers == {f"{ADDRESS}/aws": PROVIDERS["aws"]}
    assert lock(config, "aws", upgrade=True).providers == {f"{ADDRESS}/aws": NEWER}


def test_a_deployment_uses_the_locked_version_and_leaves_the_file_alone(
    config: Config, mirror: Path
) -> None:
    path = lock(config, "aws").path
    before = path.read_bytes()
    package(mirror, "aws", NEWER)
    initialise(config)
    folder = Workspace(config, config.sites["aws"]).folder
    assert (folder / LOCK_FILE).read_bytes() == before == path.read_bytes()


def test_a_deployment_refuses_other_packages(config: Config, mirror: Path) -> None:
    lock(config, "aws")
    initialise(config)
    package(mirror, "aws", PROVIDERS["aws"], "another program")
    with pytest.raises(McloudError) as caught:
        initialise(config)
    assert caught.value.message.startswith(
        f"the available providers are not those in {path_of(config, 'aws')}: Failed to install"
    )
    assert "mcloud lock --upgrade" in caught.value.remedy
    lock(config, "aws", upgrade=True)
    initialise(config)


def test_a_deployment_refuses_a_lock_file_without_a_provider(config: Config) -> None:
    path_of(config, "aws").write_text("")
    with pytest.raises(McloudError, match="Provider dependency changes detected"):
        initialise(config)


def test_without_a_lock_file_a_deployment_keeps_its_own(config: Config, mirror: Path) -> None:
    initialise(config)
    package(mirror, "aws", PROVIDERS["aws"], "another program")
    folder = Workspace(config, config.sites["aws"]).folder
    with pytest.raises(McloudError) as caught:
        initialise(config)
    assert caught.value.remedy.startswith(f"remove {folder}/{LOCK_FILE} and run the same command")


def test_a_saved_plan_depends_on_the_lock_file(config: Config) -> None:
    before = Workspace(config, config.sites["aws"]).digests()
    lock(config, "aws")
    after = Workspace(config, config.sites["aws"]).digests()
    assert set(after) - set(before) == {LOCK_FILE}


def test_a_platform_without_a_package_is_reported(config: Config, mirror: Path) -> None:
    for path in mirror.rglob("*_darwin_arm64.zip"):
        path.unlink()
    with pytest.raises(McloudError, match="is not available for darwin_arm64"):
        lock(config, "aws")
    assert not path_of(config, "aws").exists()


def test_the_command_locks_the_provider_for_each_platform(tmp_path: Path, config: Config) -> None:
    terminal = Terminal(tmp_path, tmp_path / "state")
    terminal.environment |= {"MCLOUD_PROFILE": "prod", "TF_CLI_CONFIG_FILE": os.devnull}
    done = terminal.run("lock", "--platform", "linux_amd64", "--platform", "darwin_arm64")
    assert done.stdout == (
        f"mcloud.aws.lock.hcl: {ADDRESS}/aws {PROVIDERS['aws']}, for linux_amd64, darwin_arm64\n"
    ), done.stderr
    assert len(hashes(tmp_path / "mcloud.aws.lock.hcl")) == 2
    document = json.loads(terminal.run("lock", "aws", "-o", "json").stdout)
    assert document["aws"]["providers"] == {f"{ADDRESS}/aws": PROVIDERS["aws"]}
    assert len(hashes(tmp_path / "mcloud.aws.lock.hcl")) == len(PLATFORMS)


def test_the_modules_have_the_providers_of_this_test() -> None:
    for cloud, provider in (("aws", "aws"), ("gcp", "google")):
        assert f'"hashicorp/{provider}"'.encode() in module_files(cloud)["versions.tf"]
