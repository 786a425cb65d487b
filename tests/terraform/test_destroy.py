"""`mcloud destroy` keeps the state of an existing stack under every attack.

A stack is deployed once by real Terraform with the stand-in provider. Each attack works on a copy
of it. Afterwards Terraform finds the same addresses in the state.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Terminal
from infra.test_terraform import script

from mcloud.clouds.gcp.client import make_storage
from mcloud.local.state import State

from .module import terraform

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from .provider import Google, serving
from .test_deploy_gcp import describe, workspace

AGREED = ("--yes", "--confirm", "mcloud")


@dataclass(frozen=True)
class Target:
    """A deployed site, and the parts of it that an attack may change."""

    site: Terminal
    google: Google

    @property
    def folder(self) -> Path:
        """Return Terraform's working folder of the site, with its state."""
        return workspace(self.site)


@dataclass(frozen=True)
class Attack:
    """A circumstance in which mcloud could mistake an existing stack for a destroyed one."""

    name: str
    says: str
    """A part of mcloud's message on standard error."""
    arrange: Callable[[Target], None] = lambda at: None
    """Prepares the site."""
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = AGREED
    fails: bool = True

    @property
    def plans(self) -> bool:
        return self.arguments == ("--yes",) or "wrapper" in self.name


def select_by_hand(at: Target) -> None:
    (at.folder / ".terraform").mkdir(exist_ok=True)
    (at.folder / ".terraform" / "environment").write_text("dev")


def lose(at: Target) -> None:
    (at.folder / "terraform.tfstate").rename(at.folder / "terraform.tfstate.backup")


def lose_all_but_outputs(at: Target) -> None:
    (at.folder / "terraform.tfstate").rename(at.site.folder / "elsewhere.tfstate")


def empty(at: Target) -> None:
    shutil.copy(at.folder / "terraform.tfstate", at.folder / "terraform.tfstate.backup")
    (at.folder / "terraform.tfstate").write_text("")


def empty_with_a_newer_serial(at: Target) -> None:
    """Empty the state, as `terraform state rm` of everything does."""
    state = json.loads((at.folder / "terraform.tfstate").read_text())
    shutil.copy(at.folder / "terraform.tfstate", at.folder / "terraform.tfstate.1764000000.backup")
    state |= {"serial": state["serial"] + 1, "resources": [], "outputs": {}}
    (at.folder / "terraform.tfstate").write_text(json.dumps(state))


def cut_off(at: Target) -> None:
    text = (at.folder / "terraform.tfstate").read_text()
    shutil.copy(at.folder / "terraform.tfstate", at.folder / "terraform.tfstate.backup")
    (at.folder / "terraform.tfstate").write_text(text[: len(text) // 2])


def put_into_a_workspace(at: Target) -> None:
    """Move the state to a workspace, as an older mcloud did with TF_WORKSPACE=dev."""
    other = at.folder / "terraform.tfstate.d" / "dev"
    other.mkdir(parents=True)
    (at.folder / "terraform.tfstate").rename(other / "terraform.tfstate")


def bring_another_state(at: Target) -> None:
    """Replace the state by that of another stack."""
    state = json.loads((at.folder / "terraform.tfstate").read_text())
    (at.folder / "terraform.tfstate").rename(at.folder / "terraform.tfstate.backup")
    state["lineage"] = "0b4ecf0e-0000-4000-8000-000000000001"
    (at.folder / "terraform.tfstate").write_text(json.dumps(state))


def write_variables(at: Target) -> None:
    (at.folder / "z.auto.tfvars").write_text('name = "other"\n')


def rename_the_stack(at: Target) -> None:
    document = at.site.folder / "mcloud.toml"
    text = document.read_text().replace('cloud = "gcp"\n', 'cloud = "gcp"\nname = "other"\n', 1)
    document.write_text(text)


def see_nothing(at: Target) -> None:
    """Make all resources invisible, as with the credentials of another account."""
    at.google.has = lambda kind: False


def use_a_wrapper(body: str) -> Callable[[Target], None]:
    def arrange(at: Target) -> None:
        real = terraform()
        path = script(at.site.folder, "wrapper", body.replace("REAL", real))
        at.site.environment["MCLOUD_TERRAFORM"] = path

    return arrange


ATTACKS = [
    Attack(
        "another workspace in the shell",
        "error: gcp: TF_WORKSPACE is set: it selects another state, and mcloud keeps one state for"
        " each profile and site; run `unset TF_WORKSPACE` first\n",
        environment={"TF_WORKSPACE": "dev"},
    ),
    Attack(
        "another workspace selected in the folder",
        "use --confirm mcloud",
        select_by_hand,
        arguments=("--yes",),
    ),
    Attack("a lost state beside its backup", "restore it with `cp ", lose),
    Attack("an emptied state beside its backup", "restore it with `cp ", empty),
    Attack(
        "an emptied state that looks newer than its backup",
        "the state of gcp holds no resources, but ",
        empty_with_a_newer_serial,
    ),
    Attack("a state that is cut off", "error: gcp: ", cut_off),
    Attack(
        "a state that is elsewhere, with outputs that say otherwise",
        "outputs/prod/gcp.json shows that the site is deployed; nothing was changed; find",
        lose_all_but_outputs,
    ),
    Attack(
        "a state in a workspace", "terraform.tfstate.d/dev/terraform.tfstate", put_into_a_workspace
    ),
    Attack(
        "the state of another stack",
        "this is not the state that gcp was deployed with: its lineage is 0b4ecf0e-",
        bring_another_state,
    ),
    Attack(
        "another stack's name",
        "gcp was deployed as the stack 'mcloud', and mcloud.toml says 'other' now",
        rename_the_stack,
        arguments=("--yes", "--confirm", "other"),
    ),
    Attack(
        "another data folder",
        "TF_DATA_DIR of this shell is not passed to Terraform",
        environment={"TF_DATA_DIR": "/nowhere"},
        arguments=("--yes",),
    ),
    Attack(
        "another state in the arguments of the shell",
        "use --confirm mcloud",
        environment={"TF_CLI_ARGS": "-state=/nowhere.tfstate"},
        arguments=("--yes",),
    ),
    Attack(
        "a part of the plan in the arguments of the shell",
        " to destroy\n",
        environment={"TF_CLI_ARGS_plan": "-target=google_pubsub_topic.none -refresh=false"},
        arguments=("--yes",),
    ),
    Attack(
        "variables in the shell",
        "use --confirm mcloud",
        environment={"TF_VAR_name": "other", "TF_VAR_deletion_protection": "false"},
        arguments=("--yes",),
    ),
    Attack(
        "variables in a file of the folder",
        "use --confirm mcloud",
        write_variables,
        arguments=("--yes",),
    ),
    Attack(
        "a wrapper that says yes to everything",
        "error: gcp: ",
        use_a_wrapper('case "$1" in apply) exit 0 ;; *) exec REAL "$@" ;; esac'),
    ),
    Attack(
        "a wrapper that hides the state",
        "error: gcp: ",
        use_a_wrapper('case "$1" in state) exit 0 ;; *) exec REAL "$@" ;; esac'),
    ),
    Attack(
        "credentials of another account",
        " resources, and none of them exists in the cloud",
        see_nothing,
    ),
    Attack(
        "another folder for what mcloud keeps",
        "",
        lambda at: at.site.environment.update(MCLOUD_STATE=str(at.site.folder / "new")),
        fails=False,
    ),
]


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    terraform()
    with serving(tmp_path_factory.mktemp("provider")) as google:
        yield google


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, embedded: State, google: Google) -> Terminal:
    """A deployed site, which the attacks copy."""
    folder = tmp_path_factory.mktemp("deployed")
    site = Terminal(folder, folder / "state")
    describe(folder, embedded)
    (folder / "empty.tfrc").touch()
    site.environment |= {
        **google.environment,
        "MCLOUD_PROFILE": "prod",
        "TF_CLI_CONFIG_FILE": str(folder / "empty.tfrc"),
    }
    done = site.run("deploy", "--yes")
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def site(deployed: Terminal, tmp_path: Path, google: Google) -> Iterator[Terminal]:
    shutil.copytree(deployed.folder, tmp_path, dirs_exist_ok=True)
    site = Terminal(tmp_path, tmp_path / "state")
    site.environment = {**deployed.environment, "MCLOUD_STATE": str(tmp_path / "state")}
    yield site
    google.reset()


def marked(attack: Attack) -> Any:
    """Return the attack as a parameter, marked slow if it takes effect only after the plan."""
    marks = (pytest.mark.slow,) if attack.plans else ()
    return pytest.param(attack, marks=marks, id=attack.name)


@pytest.mark.parametrize("attack", [marked(each) for each in ATTACKS])
def test_a_living_stack_survives(site: Terminal, google: Google, attack: Attack) -> None:
    before = addresses(workspace(site) / "terraform.tfstate")
    assert len(before) > 50
    attack.arrange(Target(site, google))
    files = kept(site)
    done = site.run("destroy", "gcp", *attack.arguments, **attack.environment)
    assert attack.says in done.stderr
    assert (done.returncode != 0) == attack.fails, done.stdout
    survivors = [path for path in kept(site) if before == addresses(path)]
    assert survivors, "no file holds the state any more"
    assert files.keys() <= kept(site).keys()
    assert not (site.folder / "state" / "removed").exists()


def test_resources_destroyed_outside_of_terraform_are_reported(
    site: Terminal, google: Google
) -> None:
    google.has = lambda kind: kind != "google_pubsub_topic"
    done = site.run("destroy", "gcp", *AGREED)
    assert done.returncode == 0, done.stderr
    assert (
        "gcp: 2 resources of the state do not exist any more: google_pubsub_topic.dlq,"
        " google_pubsub_topic.trades\n"
    ) in done.stderr
    assert re.fullmatch(r"gcp: destroyed, \d+ changes\n", done.stdout)
    (aside,) = (site.folder / "state" / "removed" / "prod").iterdir()
    assert (aside / "terraform" / "terraform.tfstate.backup").exists()
    assert not list(aside.rglob("*.tfplan"))


def test_a_confirmed_destroy_empties_the_bucket(site: Terminal, embedded: State) -> None:
    to = embedded.resources()["gcp"]
    blob = make_storage(to.project, to.storage_endpoint).bucket(to.raw_bucket).blob("raw/left")
    blob.upload_from_string(b"trades")
    refused = site.run("destroy", "gcp", "--yes")
    assert refused.returncode != 0
    assert blob.exists()
    done = site.run("destroy", "gcp", *AGREED)
    assert done.returncode == 0, done.stderr
    assert re.search(
        rf"^gcp: deleted [\d,]+ versions of objects in {to.raw_bucket}$", done.stderr, re.M
    )
    assert not blob.exists()


def test_the_command_that_is_named_restores_the_state(site: Terminal) -> None:
    folder = workspace(site)
    before = addresses(folder / "terraform.tfstate")
    empty(Target(site, Google()))
    refused = site.run("plan")
    assert refused.returncode == 1
    command = refused.stderr.partition("restore it with `")[2].partition("`")[0]
    subprocess.run(shlex.split(command), check=True)
    assert addresses(folder / "terraform.tfstate") == before
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def addresses(state: Path) -> list[str]:
    """Return the addresses that Terraform finds in a state; none if it cannot read the state."""
    listed = subprocess.run(
        (terraform(), "state", "list", f"-state={state}"),
        cwd=state.parent,
        env={"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": "/dev/null"},
        capture_output=True,
        text=True,
    )
    return sorted(listed.stdout.splitlines())


def kept(site: Terminal) -> dict[Path, bytes]:
    """Return every file that is a state, a backup or the outputs."""
    found = [*site.folder.rglob("*.tfstate*"), *site.folder.rglob("outputs/*/*.json")]
    return {path: path.read_bytes() for path in found if path.is_file()}
