"""Choice of the Terraform program, and the errors if there is none."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from patience import PATIENCE

from mcloud.config import TerraformConfig, load
from mcloud.errors import McloudError
from mcloud.infra import terraform
from mcloud.infra.bundle import shipped
from mcloud.infra.terraform import Interrupted, Terraform
from mcloud.infra.workspace import Workspace

BARE = TerraformConfig()


def script(folder: Path, name: str, body: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_oldest_version_is_the_one_that_the_modules_need() -> None:
    for cloud in ("aws", "gcp"):
        text = (shipped("terraform") / cloud / "versions.tf").read_text()
        needed = re.search(r'required_version = ">= ([\d.]+)"', text)
        assert needed is not None
        assert tuple(map(int, needed[1].split("."))) == terraform.MIN_VERSION


def test_without_terraform_and_opentofu_there_is_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(McloudError, match="neither terraform nor tofu is on the PATH; install one"):
        terraform.find_binary(BARE)


def test_opentofu_is_used_if_terraform_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tofu = script(tmp_path, "tofu", "echo OpenTofu v1.8.2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(terraform.shutil, "which", only_in(tmp_path))
    assert terraform.find_binary(BARE) == tofu
    assert terraform.version(tofu) == ("OpenTofu", (1, 8, 2))
    terraform.check_version(tofu)


def test_the_configured_binary_is_used(tmp_path: Path) -> None:
    named = script(tmp_path, "terraform-1.9", "echo Terraform v1.9.0-beta1")
    assert terraform.find_binary(TerraformConfig(binary=named)) == named
    assert terraform.version(named) == ("Terraform", (1, 9, 0))
    with pytest.raises(McloudError, match="the Terraform binary 'nowhere' does not exist"):
        terraform.find_binary(TerraformConfig(binary="nowhere"))


def test_warnings_before_the_version_are_ignored(tmp_path: Path) -> None:
    said = "echo 'There are some problems with the CLI configuration:' >&2; echo Terraform v1.6.1"
    assert terraform.version(script(tmp_path, "t", said)) == ("Terraform", (1, 6, 1))


def test_other_versions_that_a_wrapper_mentions_are_skipped(tmp_path: Path) -> None:
    said = (
        "echo 'Terraform v1.2.3 is installed already'; echo Terraform v1.6.1; echo on linux_amd64"
    )
    assert terraform.version(script(tmp_path, "t", said)) == ("Terraform", (1, 6, 1))


CHATTER = {
    "lines of tfenv": ("echo '[INFO] Terraform v1.2.3 (set by {x}) is used'", "echo done"),
    "a deprecation notice on standard error": ("echo 'deprecated: {use} x' >&2", "echo bye >&2"),
    "JSON lines": ("""echo '{"level":"warn","msg":"old"}'""", """echo '{"took": 1}'"""),
    "an update notice behind": ("true", "echo; echo 'A new version {1.99.0} is available.'"),
    "colours": (r"printf '\033[33mcareful\033[0m\n'", "true"),
    "no newline": ("printf 'running: '", "printf '(end)'"),
}


@pytest.mark.parametrize(("before", "after"), CHATTER.values(), ids=CHATTER)
def test_the_output_of_a_wrapper_is_ignored(tmp_path: Path, before: str, after: str) -> None:
    real = shutil.which("terraform") or shutil.which("tofu")
    if real is None:
        pytest.skip("terraform is not installed")
    wrapper = script(tmp_path, "wrapper", f'{before}\n{real} "$@"\ncode=$?\n{after}\nexit $code')
    (tmp_path / "main.tf").write_text(
        'resource "terraform_data" "it" { input = "x" }\n'
        'output "it" { value = terraform_data.it.output }\n'
    )
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull}
    runner = Terraform(tmp_path, wrapper, environment=environment, stop=Event())
    seen: list[str] = []
    runner.init()
    assert runner.pull() is None
    shown = runner.plan("it.tfplan", lambda event: None)
    assert [each["address"] for each in shown["resource_changes"]] == ["terraform_data.it"]
    runner.apply("it.tfplan", lambda event: seen.append(event.get("type", "")))
    assert "apply_complete" in seen
    state = runner.pull()
    assert state is not None
    assert (state.addresses, state.outputs) == ({"terraform_data.it"}, {"it": "x"})
    assert runner.other_workspaces() == []


def test_a_folder_for_temporary_files_that_cannot_be_used_is_replaced(tmp_path: Path) -> None:
    """A provider needs it for its socket, and otherwise ends without an explanation."""
    body = 'test -d "$TMPDIR" && touch "$TMPDIR/mcloud-test-$$" && rm "$TMPDIR/mcloud-test-$$"'
    binary = script(tmp_path, "terraform", f'{body}; echo "$TMPDIR" > used')
    (tmp_path / "file").touch()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    for unusable in ("/nonexistent", str(tmp_path / "file"), str(deep), "relative", "/proc"):
        environment = {**os.environ, "TMPDIR": unusable}
        Terraform(tmp_path, binary, environment=environment, stop=Event()).init()
        used = (tmp_path / "used").read_text().strip()
        assert used != unusable
        assert len(used) <= 64
    with tempfile.TemporaryDirectory(dir="/tmp") as usable:
        environment = {**os.environ, "TMPDIR": usable}
        Terraform(tmp_path, binary, environment=environment, stop=Event()).init()
        assert (tmp_path / "used").read_text().strip() == usable


LOCK = """Error: Error acquiring the state lock

Error message: resource temporarily unavailable
Lock Info:
  ID:        4d1a9d2e
  Operation: OperationTypeApply
  Who:       ada@desk
  Created:   2026-01-02 03:04:05 UTC
"""


def locked_until(folder: Path, condition: str) -> str:
    """Return a terraform that finds its lock held while a shell condition is false."""
    (folder / "said").write_text(LOCK)
    body = f"echo x >> tries; if {condition}; then exit 0; else cat said >&2; exit 1; fi"
    return script(folder, "terraform", body)


def test_a_held_lock_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terraform, "RETRY", 0.01)
    binary = locked_until(tmp_path, "test $(wc -l < tries) -ge 3")
    said: list[str] = []
    Terraform(
        tmp_path,
        binary,
        environment=dict(os.environ),
        stop=Event(),
        say=said.append,
        lock_timeout=PATIENCE,
    ).apply("plan", lambda event: None)
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    assert said == [
        "the state is locked since 2026-01-02 03:04:05 UTC by ada@desk (apply, lock 4d1a9d2e);"
        f" waiting for up to {PATIENCE:.0f} s"
    ]


def test_a_lock_that_is_held_for_too_long_is_an_error(tmp_path: Path) -> None:
    runner = Terraform(
        tmp_path, locked_until(tmp_path, "false"), environment=dict(os.environ), stop=Event()
    )
    with pytest.raises(McloudError, match=r"by ada@desk .*as with --lock-timeout 10m; only where"):
        runner.apply("plan", lambda event: None)
    assert (tmp_path / "tries").read_text() == "x\n"


def test_a_stop_ends_the_wait_for_a_lock_at_once(tmp_path: Path) -> None:
    stop = Event()
    runner = Terraform(
        tmp_path,
        locked_until(tmp_path, "false"),
        environment=dict(os.environ),
        stop=stop,
        say=lambda words: stop.set(),
        lock_timeout=3600.0,
    )
    with pytest.raises(Interrupted, match="interrupted while another run held the lock"):
        runner.apply("plan", lambda event: None)


def test_an_old_version_is_refused(tmp_path: Path) -> None:
    old = script(tmp_path, "terraform", "echo Terraform v1.4.7")
    with pytest.raises(McloudError) as error:
        terraform.check_version(old)
    assert str(error.value) == (
        f"Terraform 1.4.7 at {old} is too old: the modules need 1.5 or newer;"
        " update Terraform, or set MCLOUD_TERRAFORM to a newer one"
    )


@pytest.mark.parametrize("product", ["Terraform", "OpenTofu"])
@pytest.mark.parametrize(
    ("number", "backend", "is_enough"),
    [
        ("1.9.8", {"type": "s3"}, False),
        ("1.9.8", {"type": "s3", "use_lockfile": True}, False),
        ("1.9.8", {"type": "s3", "use_lockfile": False, "dynamodb_table": "locks"}, True),
        ("1.9.8", {"type": "gcs"}, True),
        ("1.9.8", {}, True),
        ("1.10.0", {"type": "s3"}, True),
    ],
)
def test_the_lock_of_a_state_in_s3_needs_a_newer_version(
    tmp_path: Path, product: str, number: str, backend: dict[str, Any], is_enough: bool
) -> None:
    binary = script(tmp_path, "terraform", f"echo {product} v{number}")
    if is_enough:
        terraform.check_version(binary, {}, backend)
        return
    words = rf"{product} 1.9.8 .* is too old: the lock .* needs {product} 1.10 or newer; update"
    with pytest.raises(McloudError, match=words):
        terraform.check_version(binary, {}, backend)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'GNU bash, version 5'", "is neither Terraform nor OpenTofu: GNU bash, version 5"),
        ("exit 1", "is neither Terraform nor OpenTofu: it printed nothing"),
    ],
)
def test_a_program_that_is_not_terraform_is_refused(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(McloudError, match=words):
        terraform.version(script(tmp_path, "terraform", body))


def test_a_misspelt_method_is_no_command(tmp_path: Path) -> None:
    runner = Terraform(tmp_path, "true", environment={}, stop=Event())
    with pytest.raises(AttributeError):
        runner.aply("plan")


def test_a_failure_without_output_is_an_error(tmp_path: Path) -> None:
    broken = script(tmp_path, "terraform", "echo 'panic: oh no'; exit 11")
    runner = Terraform(tmp_path, broken, environment={}, stop=Event())
    with pytest.raises(McloudError, match="Terraform failed and did not say why; run again"):
        runner.plan("plan.tfplan", lambda event: None)


def test_once_stopped_nothing_is_started(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted):
        Terraform(tmp_path, "true", environment={}, stop=stop).init()


def test_an_error_in_mcloud_waits_for_terraform_to_end(tmp_path: Path) -> None:
    """An example is a pipe whose reader has ended."""
    os.mkfifo(tmp_path / "go")
    begun = """echo '{"type": "apply_start"}'; read line < go; touch saved"""
    runner = Terraform(
        tmp_path, script(tmp_path, "terraform", begun), environment=dict(os.environ), stop=Event()
    )

    def tell(event: dict[str, Any]) -> None:
        Thread(target=(tmp_path / "go").write_text, args=("now\n",)).start()
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        runner.apply("plan", tell)
    assert (tmp_path / "saved").exists()


def test_an_interrupt_is_passed_on_once_and_waited_for(tmp_path: Path) -> None:
    """This includes a wrapper around Terraform."""
    body = (
        "trap 'echo asked >> asked' INT; echo '{\"type\": \"apply_start\"}';"
        " until [ -s asked ]; do sleep 0.01; done; touch saved; exit 1"
    )
    wrapper = script(tmp_path, "wrapper", f'{script(tmp_path, "terraform", body)} "$@"')
    stop = Event()
    runner = Terraform(tmp_path, wrapper, environment=dict(os.environ), stop=stop)
    with pytest.raises(Interrupted, match="terraform apply was interrupted and has released its"):
        runner.apply("plan", lambda event: stop.set())
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert (tmp_path / "saved").exists()


def test_space_is_reserved_by_writing_if_fallocate_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    told: list[dict[str, Any]] = []
    body = """test $(wc -c < apply.log) -eq 4194304 && echo '{"type": "apply_start"}'; exit 0"""
    runner = Terraform(
        tmp_path, script(tmp_path, "terraform", body), environment=dict(os.environ), stop=Event()
    )
    runner.apply("plan", told.append)
    assert told == [{"type": "apply_start"}]


def test_a_stop_does_not_hide_an_error_of_the_lock(tmp_path: Path) -> None:
    error = (
        '{"type": "diagnostic", "diagnostic": {"severity": "error",'
        ' "summary": "Error releasing the state lock", "detail": "AccessDenied"}}'
    )
    body = "trap 'echo asked > asked' INT; echo '{}'; until [ -s asked ]; do sleep 0.01; done"
    body += f"\necho '{error}'; exit 1"
    stop = Event()
    runner = Terraform(
        tmp_path, script(tmp_path, "terraform", body), environment=dict(os.environ), stop=stop
    )
    with pytest.raises(McloudError, match="lock") as caught:
        runner.apply("plan", lambda event: stop.set())
    assert not isinstance(caught.value, Interrupted)


def test_the_state_is_read_after_a_stop_that_came_too_late(tmp_path: Path) -> None:
    body = """echo '{"lineage": "a", "outputs": {"region": {"value": "us-east-1"}}}'"""
    stop = Event()
    stop.set()
    runner = Terraform(
        tmp_path, script(tmp_path, "terraform", body), environment=dict(os.environ), stop=stop
    )
    state = runner.pull()
    assert state is not None
    assert state.outputs == {"region": "us-east-1"}


def test_two_profiles_keep_two_states_in_one_bucket(tmp_path: Path) -> None:
    sites = "".join(
        f"""[profiles.{name}.sites.aws]
cloud = "aws"
region = "us-east-1"
[profiles.{name}.sites.aws.backend]
type = "s3"
bucket = "states"
"""
        for name in ("prod", "stage")
    )
    (tmp_path / "mcloud.toml").write_text(sites)
    keys = set()
    for profile in ("prod", "stage"):
        config = load(profile, tmp_path, {})
        workspace = Workspace(config, config.sites["aws"])
        with workspace.locked():
            workspace.write()
        text = (workspace.folder / "backend.tf.json").read_text()
        keys.add(json.loads(text)["terraform"]["backend"]["s3"]["key"])
    assert keys == {"mcloud/prod/mcloud/aws.tfstate", "mcloud/stage/mcloud/aws.tfstate"}


def only_in(folder: Path):  # type: ignore[no-untyped-def]
    return lambda name: str(folder / name) if (folder / name).exists() else None
