"""Terraform's working folder for a site: the module, its variables and the files they name.

The folder is ``.mcloud/terraform/<profile>/<site>``. Everything in it except the state can be
recreated at any time. The same settings give the same files, so a plan shows only real changes.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcloud import files
from mcloud.config import Config, SiteConfig, settings
from mcloud.config.produce import ProduceSettings
from mcloud.infra.bundle import build, module_files
from mcloud.infra.provider_locks import path_of
from mcloud.infra.state_errors import BACKEND, LOCK_FILE, VARIABLES, Locked
from mcloud.infra.terraform import LockWait
from mcloud.lock import Lock
from mcloud.removed import set_aside

# Services that terraform/aws uses, by the provider's names.
SERVICES = (
    "budgets",
    "cloudwatch",
    "dynamodb",
    "firehose",
    "iam",
    "kms",
    "lambda",
    "logs",
    "s3",
    "scheduler",
    "sns",
    "sqs",
    "sts",
)

BUNDLE = "bundle.zip"
_DATA = ".terraform"  # Terraform's data folder, inside the site's folder

_ENDPOINTS = "endpoints_override.tf.json"

# Files that Terraform or OpenTofu reads as a part of the module or as values of its variables.
_READ_BY_TERRAFORM = ("*.tf", "*.tf.json", "*.tofu", "*.tofu.json", "*.tfvars", "*.tfvars.json")


@dataclass(frozen=True)
class Deployment:
    """A note that a deployment writes beside a site's state, to recognise the state later."""

    stack: str
    """Name of the stack, as in ``SiteConfig.stack``."""
    lineage: str
    """Identity of the state, as in ``State.lineage``. Moving a state may change it."""
    place: str
    """Location of the state, as in ``Workspace.place``."""


class Workspace:
    """Terraform's working folder for one site.

    With ``endpoint_url``, Terraform uses the embedded AWS at that address, not the real one.
    """

    def __init__(self, config: Config, site: SiteConfig, endpoint_url: str = "") -> None:
        self.folder = config.state / "terraform" / config.profile / site.name
        self._state = config.state
        self._profile = config.profile
        self._site = site
        self._endpoint_url = endpoint_url
        locked = path_of(config, site.cloud)
        self.lock_file = locked if locked.exists() else None
        """Lock file of the providers that ``mcloud lock`` wrote, or None."""
        self._settings: dict[str, Any] = {}
        """Variables that follow from tables of mcloud.toml; those of the site come before them."""
        if site.cloud == "aws":  # Pub/Sub pushes each message at once
            self._settings["freshness"] = settings(config, "produce", ProduceSettings).freshness

    @contextmanager
    def locked(self, wait: LockWait | None = None) -> Iterator[None]:
        """Lock the site against other mcloud processes.

        Raises:
            Locked: another process holds the lock and does not release it in time.
        """
        files.make_private(self.folder)
        lock = Lock(self.folder / "lock")
        while True:
            with lock.held() as mine:
                if mine:
                    yield
                    return
            error = Locked(
                f"another mcloud process is working on this site{_holder(lock)}",
                remedy="wait until it has ended, as with --lock-timeout 10m",
            )
            if wait is None:
                raise error
            wait.pause(error)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that `write` puts into the folder, by name."""
        contents = self._contents()
        return {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}

    def write(self) -> None:
        """Update the folder to the current settings."""
        wanted = self._contents()
        for pattern in _READ_BY_TERRAFORM:
            for path in self.folder.glob(pattern):
                if path.name not in wanted:
                    path.unlink()
        for name, content in wanted.items():
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                files.write(path, content)

    def _contents(self) -> dict[str, bytes]:
        """Return the module, its variables and the files they name, by file name."""
        wanted = {
            BUNDLE: build(self._site.cloud),
            VARIABLES: _json(self._variables()),
        }
        wanted |= module_files(self._site.cloud)
        if self.lock_file is not None:
            wanted[LOCK_FILE] = self.lock_file.read_bytes()
        if self._site.backend:
            wanted[BACKEND] = _json(backend_of(self._profile, self._site))
        if self._endpoint_url:
            wanted[_ENDPOINTS] = _json(_endpoints(self._endpoint_url))
        return wanted

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables to pass to Terraform."""
        if not self._endpoint_url:
            return dict(given)
        # Drop everything that could direct Terraform from the embedded AWS to the real one.
        kept = {name: value for name, value in given.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def is_initialised(self, *using: object) -> bool:
        """Return whether ``terraform init`` ran with the current providers and backend."""
        try:
            return self._stamp.read_bytes() == self._fingerprint(using).encode()
        except FileNotFoundError:
            return False

    def note_initialised(self, *using: object) -> None:
        files.make_private(self._stamp.parent)
        files.write(self._stamp, self._fingerprint(using).encode())

    def set_aside(self, outputs: Path) -> Path | None:
        """Move the folder and the outputs of a destroyed site away, and return the new path."""
        things = {"terraform": self.folder, "outputs.json": outputs}
        return set_aside(self._state, self._profile, self._site.name, things)

    @property
    def is_remote(self) -> bool:
        """Whether the state is stored in a bucket."""
        return bool(self._site.backend)

    @property
    def place(self) -> str:
        """Location of the state: the backend, or an empty string for the site's folder."""
        if not self._site.backend:
            return ""
        return _json(backend_of(self._profile, self._site)).decode()

    def read_deployment(self) -> "Deployment | None":
        """Return the note of the last deployment, or None if there is no readable note."""
        try:
            noted = json.loads(self._deployment.read_text(encoding="utf-8"))
            return Deployment(**{each.name: str(noted[each.name]) for each in fields(Deployment)})
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the note only adds a check, so a missing one is not an error

    def note_deployment(self, lineage: str) -> None:
        """Record which stack and which state belong to this site."""
        noted = Deployment(self._site.stack, lineage, self.place)
        files.write(self._deployment, _json(asdict(noted)))

    @property
    def _deployment(self) -> Path:
        return self.folder / "deployment.json"

    @property
    def _stamp(self) -> Path:
        # In the data folder, so that it is deleted together with the folder.
        return self.folder / _DATA / "initialised"

    def _fingerprint(self, using: tuple[object, ...]) -> str:
        digest = hashlib.sha256(repr(using).encode())
        for name in ("versions.tf", BACKEND, LOCK_FILE):
            path = self.folder / name
            digest.update(path.read_bytes() if path.exists() else b"-")
        return digest.hexdigest()

    def _variables(self) -> dict[str, Any]:
        site = self._site
        own: dict[str, Any] = {
            key: site.settings[key] for key in ("region", "project") if key in site.settings
        }
        return {
            **self._settings,
            **site.variables,
            **own,
            "name": site.stack,
            "bundle": BUNDLE,  # relative to Terraform's folder: the same on every machine
        }


def _holder(lock: Lock) -> str:
    process = lock.holder()
    if process is None:
        return ""
    since = datetime.fromtimestamp(process.create_time(), UTC)
    return f" since {since:%Y-%m-%d %H:%M:%S} UTC (process {process.pid})"


def backend_of(profile: str, site: SiteConfig) -> dict[str, Any]:
    """Return the configuration of a site's remote backend, with mcloud's defaults."""
    options = dict(site.backend)
    kind = options.pop("type")
    # The profile is included because other profiles may store their states in the same bucket.
    place = f"mcloud/{profile}/{site.stack}/{site.name}"
    defaults: dict[str, dict[str, Any]] = {
        "s3": {
            "key": f"{place}.tfstate",
            "region": site.settings.get("region", "us-east-1"),
            "encrypt": True,
            "use_lockfile": True,
        },
        "gcs": {"prefix": place},
    }
    return {"terraform": {"backend": {kind: {**defaults[kind], **options}}}}


def _endpoints(url: str) -> dict[str, Any]:
    """Return the provider's settings for the embedded AWS, which are kept out of the module."""
    provider = {
        # The embedded AWS accepts any credentials; these are not secret.
        "access_key": "test",
        "secret_key": "test",
        "s3_use_path_style": True,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "endpoints": [dict.fromkeys(SERVICES, url)],
    }
    # No alarms: ministack drops most settings of an alarm, so every plan would change all alarms.
    alarms: dict[str, Any] = {"aws_cloudwatch_metric_alarm": {"this": {"for_each": {}}}}
    return {"provider": {"aws": provider}, "resource": alarms}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
