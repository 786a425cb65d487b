"""Environment variables, and ``.env`` and ``.env.gcp`` in the current folder.

The names are those of the bash version that mcloud replaces, and some of mcloud's own.
"""

import re
from collections.abc import Iterator, Mapping, Set
from io import StringIO
from pathlib import Path

from mcloud.config import text
from mcloud.config.model import Setting
from mcloud.errors import ConfigError

OF_SITES = {
    "aws": {
        "AWS_REGION": "region",
        "SQS_QUEUE_URL": "queue_url",
        "DYNAMODB_TABLE": "candles_table",
        "S3_BUCKET": "raw_bucket",
    },
    "gcp": {
        "GCP_PROJECT_ID": "project",
        "GCP_REGION": "region",
        "PUBSUB_TOPIC": "topic",
        "FIRESTORE_DATABASE": "database",
        "STORAGE_BUCKET": "raw_bucket",
    },
}
"""Settings that the variables change on the only site of a cloud."""

KNOWN = {
    "MCLOUD_PROFILE",
    "MCLOUD_STATE",
    "MCLOUD_TERRAFORM",
    "TF_PLUGIN_DIR",
    "TRADING_SYMBOL",
    *OF_SITES["aws"],
    *OF_SITES["gcp"],
}

FILES = (".env", ".env.gcp")  # the latter wins, as when a shell reads them in this order


def read(
    folder: Path, environment: Mapping[str, str], names: Set[str] = frozenset(KNOWN)
) -> dict[str, Setting]:
    """Return the variables that are set and not empty; KNOWN by default.

    Raises:
        ConfigError: a file cannot be read, or names one of the variables on a line that is
            not an assignment.
    """
    found: dict[str, Setting] = {}
    files: dict[str, str] = {}
    for name in FILES:
        # A folder of that name is a virtual environment.
        if (folder / name).is_file():
            found |= _file(folder / name, names, files, environment)
    for name in names & environment.keys():
        if environment[name]:
            found[name] = Setting(environment[name], f"environment {name}")
    return found


def _file(
    path: Path, names: Set[str], before: dict[str, str], environment: Mapping[str, str]
) -> Iterator[tuple[str, Setting]]:
    """Yield the variables of a file. ``${NAME}`` is replaced from ``before`` or the environment.

    The variables of the file are added to ``before``. As in a shell, nothing is replaced within
    single quotes.
    """
    from dotenv.parser import parse_stream
    from dotenv.variables import Variable, parse_variables

    for each in parse_stream(StringIO(text.read(path))):
        said = each.original.string
        line = each.original.line + said[: len(said) - len(said.lstrip())].count("\n")
        is_wanted = each.key in names
        # The file may serve other programs too, whose lines are not checked here.
        if each.error and any(name in said for name in names):
            raise ConfigError(f"{path}:{line}: not of the form NAME=value; check the quotes")
        if each.key is None or not each.value:
            continue
        value = each.value
        if not re.match(r"[^=]*=\s*'", said):
            known = {**before, **environment}
            atoms = list(parse_variables(value))
            for atom in atoms if is_wanted else ():
                if isinstance(atom, Variable) and atom.default is None and atom.name not in known:
                    raise ConfigError(
                        f"{path}:{line}: {each.key} refers to {atom.name}, which is not set",
                        remedy="set it in an earlier line, or put the value in single quotes",
                    )
            value = "".join(atom.resolve(known) for atom in atoms)
        before[each.key] = value
        if not is_wanted:
            continue
        if text.UNKNOWN in value:
            raise ConfigError(
                f"{path}:{line}: {each.key} has a byte that is not UTF-8", remedy=text.SAVE
            )
        if value:
            yield each.key, Setting(value, f"{path.name}:{line}")
