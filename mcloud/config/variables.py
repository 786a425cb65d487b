"""Environment variables, and ``.env`` and ``.env.gcp`` in the current folder.

The names are those of the bash version that mcloud replaces, and mcloud's own.
"""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path

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
"""What they say of the one site of a cloud."""

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
    """Those variables that are set and not empty, KNOWN by default.

    Raises:
        ConfigError: a file cannot be read, or has one of them on a line that is no assignment.
    """
    found: dict[str, Setting] = {}
    for name in FILES:
        # A folder of that name is a virtual environment.
        if (folder / name).is_file():
            found |= _file(folder / name, names)
    for name in names & environment.keys():
        if environment[name]:
            found[name] = Setting(environment[name], f"environment {name}")
    return found


def _file(path: Path, names: Set[str]) -> Iterator[tuple[str, Setting]]:
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for each in bindings:
        text = each.original.string
        line = each.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        # The file may serve others too; their lines are theirs to mend.
        if each.error and any(name in text for name in names):
            raise ConfigError(f"{path}:{line}: not of the form NAME=value; mind the quotes")
        if each.key is not None and each.key in names and each.value:
            yield each.key, Setting(each.value, f"{path.name}:{line}")
