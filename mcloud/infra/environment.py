"""The table that says which variables of the shell reach Terraform; `mcloud doctor` shows it.

The settings of a site are in ``mcloud.toml``. Variables of the shell may have been set for another
project. Those that would select another state, another folder or a part of the plan are therefore
not passed to Terraform.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from os import path
from pathlib import Path

from mcloud.errors import McloudError, UsageError
from mcloud.files import make_private

TEMPORARY_ROOM = 512 * 2**20  # bytes; a provider's archive has up to 200 MB
# Maximum length of the path of a folder for sockets. The path of a socket has at most 107 bytes on
# Linux and 103 on macOS, and go-plugin adds "/plugin-dir0123456789/plugin0123456789" to that of the
# folder.
LONGEST_PATH = 64


class Treatment(Enum):
    """Treatment of a shell variable by mcloud."""

    PASSED = "passed on"
    SET = "set by mcloud"
    DROPPED = "ignored"
    REFUSED = "refused"


PASSED, SET, DROPPED, REFUSED = Treatment


@dataclass(frozen=True)
class VariableRule:
    """Rule for the variables whose names match a pattern."""

    pattern: str
    """Name of a variable, or a prefix and ``*``."""
    treatment: Treatment
    why: str
    """Reason shown to the user, as a clause."""
    is_path: bool = False
    """Whether the value is a path, which Terraform would resolve in the site's folder."""


RULES = (
    VariableRule(
        "TF_WORKSPACE",
        REFUSED,
        "it selects another state, and mcloud keeps one state for each profile and site",
    ),
    VariableRule("TF_DATA_DIR", DROPPED, "sites that share a data folder mix up their states"),
    VariableRule("TF_VAR_*", DROPPED, "the variables of a site are set in mcloud.toml"),
    VariableRule(
        "TF_CLI_ARGS", DROPPED, "an extra argument can choose another state or a part of a plan"
    ),
    VariableRule(
        "TF_CLI_ARGS_*", DROPPED, "an extra argument can choose another state or a part of a plan"
    ),
    VariableRule("TF_INPUT", SET, "mcloud never lets Terraform ask"),
    VariableRule("TF_IN_AUTOMATION", SET, "mcloud prints the next steps itself"),
    VariableRule("TF_LOG", PASSED, "it makes Terraform log more"),
    VariableRule("TF_LOG_PATH", PASSED, "it names Terraform's log file", is_path=True),
    VariableRule("TF_LOG_*", PASSED, "it makes Terraform log more"),
    VariableRule("TF_CLI_CONFIG_FILE", PASSED, "it configures the command line", is_path=True),
    VariableRule("TF_PLUGIN_CACHE_DIR", PASSED, "it is a cache of providers", is_path=True),
    VariableRule(
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE", PASSED, "it belongs to that cache"
    ),
    VariableRule(
        "TF_PLUGIN_DIR", PASSED, "it names a mirror of the providers for `terraform init`"
    ),
    VariableRule("TF_REGISTRY_*", PASSED, "it sets time limits of the registry"),
    VariableRule("TF_PROVIDER_DOWNLOAD_RETRY", PASSED, "it sets time limits of the registry"),
    VariableRule("TF_TOKEN_*", PASSED, "it holds credentials for a registry"),
    VariableRule("TF_REATTACH_PROVIDERS", PASSED, "it names a provider that is being debugged"),
    VariableRule("TF_STATE_PERSIST_INTERVAL", PASSED, "it sets how often a remote state is saved"),
    VariableRule("TF_ENCRYPTION", PASSED, "OpenTofu reads an encrypted state with it"),
    VariableRule("TF_APPEND_USER_AGENT", PASSED, "it marks the requests to the cloud"),
    VariableRule("TF_AWS_*", PASSED, "it configures the AWS provider, as AWS_* does"),
    VariableRule("TF_*", DROPPED, "mcloud does not know it"),
)
"""The first rule that matches a name decides. Other variables, as AWS_*, are passed on."""

OWN = {
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
    # A workspace may also have been selected by hand in the site's folder.
    "TF_WORKSPACE": "default",
    "CHECKPOINT_DISABLE": "1",
}
"""Variables that mcloud sets for every Terraform run, whatever the shell's values are."""


def found(given: Mapping[str, str]) -> Iterator[tuple[str, VariableRule]]:
    """Yield Terraform's own variables that are set, each with its rule."""
    for name in sorted(given):
        for rule in RULES:
            if fnmatchcase(name, rule.pattern):
                if given[name] and not (name in OWN and given[name] == OWN[name]):
                    yield name, rule
                break


def check(given: Mapping[str, str]) -> None:
    """Raise UsageError for a variable that mcloud refuses."""
    for name, rule in found(given):
        if rule.treatment is REFUSED:
            raise UsageError(f"{name} is set: {rule.why}", remedy=f"run `unset {name}` first")


def withheld(given: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that are set and ignored."""
    return [name for name, rule in found(given) if rule.treatment is DROPPED]


def reaching_terraform(given: Mapping[str, str], folder: str = "") -> dict[str, str]:
    """Return the environment in which Terraform runs.

    Args:
        given: the environment of the shell.
        folder: where the relative paths in it start; the current folder by default.
    """
    rules = dict(found(given))
    passed = {
        name: value
        for name, value in given.items()
        if not name.startswith("TF_") or (name in rules and rules[name].treatment is PASSED)
    }
    for name, rule in rules.items():
        if rule.is_path:
            passed[name] = path.abspath(path.join(folder, passed[name]))
    return {**passed, **OWN}


def temporary_folder(given: Mapping[str, str], folder: Path) -> str:
    """Return a folder in which Terraform and its providers can work.

    A provider listens on a socket there, and the length of its path is limited. The download of a
    provider needs space there.

    Args:
        given: the environment of the shell, whose TMPDIR comes first.
        folder: the site's own.

    Raises:
        McloudError: there is none.
    """
    own = folder / ".terraform" / "tmp"
    places = (given.get("TMPDIR") or "/tmp", str(own), "/tmp", "/var/tmp")
    usable = []
    for place in places:
        if place == str(own):
            make_private(own)
        if _is_usable(place):
            if shutil.disk_usage(place).free >= TEMPORARY_ROOM:
                return place
            usable.append(place)
    if usable:
        return usable[0]
    raise McloudError(
        f"Terraform has no folder for temporary files: none of {', '.join(dict.fromkeys(places))}"
        f" can be written to and has a path of at most {LONGEST_PATH} characters",
        remedy="set TMPDIR to such a folder",
    )


def _is_usable(place: str) -> bool:
    if not path.isabs(place) or len(place.encode()) > LONGEST_PATH:
        return False
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"mcloud")
            file.flush()
    except OSError:
        return False
    return True


def without(names: Iterable[str]) -> tuple[str, ...]:
    """Return the command prefix (``env -u …``) that removes these variables from the
    environment."""
    options = [word for name in names for word in ("-u", name)]
    return ("env", *options) if options else ()
