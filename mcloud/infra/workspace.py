"""The folder in which Terraform works for a site: the module, its variables, what it calls.

``.mcloud/terraform/<profile>/<site>``. All in it but the state can be made again at will, always
the same from the same settings, so that a plan shows a change only where there is one.
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

from mcloud.config import Config, SiteConfig, settings
from mcloud.errors import McloudError
from mcloud.files import make_private
from mcloud.infra.bundle import build, shipped
from mcloud.infra.state_errors import BACKEND, Locked
from mcloud.infra.terraform import LockWait
from mcloud.lock import Lock
from mcloud.market.anomaly import Thresholds
from mcloud.removed import set_aside

# Every service that terraform/aws uses, as the provider calls it.
SERVICES = (
    "budgets",
    "cloudwatch",
    "dynamodb",
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
_DATA = ".terraform"  # Terraform's data folder in the site's

_ENDPOINTS = "endpoints_override.tf.json"

# Files that Terraform or OpenTofu takes for a part of the module or for values of its variables.
_READ_BY_TERRAFORM = ("*.tf", "*.tf.json", "*.tofu", "*.tofu.json", "*.tfvars", "*.tfvars.json")


@dataclass(frozen=True)
class Deployment:
    """What a deployment notes beside a site's state, to recognise it later."""

    stack: str
    """The stack's name, as in ``SiteConfig.stack``."""
    lineage: str
    """The identity of its state, as in ``State.lineage``; moving a state may change it."""
    place: str
    """Where the state was kept, as in ``Workspace.place``."""


class Workspace:
    """``endpoint_url`` is that of an embedded AWS, which is then used in place of the real one."""

    def __init__(self, config: Config, site: SiteConfig, endpoint_url: str = "") -> None:
        self.folder = config.state / "terraform" / config.profile / site.name
        self._state = config.state
        self._profile = config.profile
        self._site = site
        self._endpoint_url = endpoint_url
        thresholds = settings(config, "anomalies", Thresholds).to_json()
        self._thresholds = {"anomaly_thresholds": json.loads(thresholds)} if thresholds else {}

    @contextmanager
    def locked(self, wait: LockWait | None = None) -> Iterator[None]:
        """Keep another mcloud out. Raises Locked where one is in and does not end in time."""
        make_private(self.folder)
        lock = Lock(self.folder / "lock")
        while True:
            with lock.held() as mine:
                if mine:
                    yield
                    return
            error = Locked(
                f"another mcloud works on this site{_holder(lock)}",
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
        """Bring the folder up to date."""
        wanted = self._contents()
        for pattern in _READ_BY_TERRAFORM:
            for path in self.folder.glob(pattern):
                if path.name not in wanted:
                    path.unlink()
        for name, content in wanted.items():
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                _put(path, content)

    def _contents(self) -> dict[str, bytes]:
        """The module, its variables and what they name, by file name."""
        wanted = {
            BUNDLE: build(self._site.cloud),
            "terraform.tfvars.json": _json(self._variables()),
        }
        module = shipped("terraform") / self._site.cloud
        wanted |= {path.name: path.read_bytes() for path in module.glob("*.tf")}
        if self._site.backend:
            wanted[BACKEND] = _json(_backend(self._profile, self._site))
        if self._endpoint_url:
            wanted[_ENDPOINTS] = _json(_endpoints(self._endpoint_url))
        return wanted

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What Terraform sees of an environment."""
        if not self._endpoint_url:
            return dict(given)
        # Nothing that could lead it from the embedded AWS to the real one.
        kept = {name: value for name, value in given.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def is_initialised(self, *using: object) -> bool:
        """True where ``terraform init`` has seen the providers and the backend as they are now."""
        try:
            return self._stamp.read_bytes() == self._fingerprint(using).encode()
        except FileNotFoundError:
            return False

    def note_initialised(self, *using: object) -> None:
        make_private(self._stamp.parent)
        _put(self._stamp, self._fingerprint(using).encode())

    def set_aside(self, outputs: Path) -> Path | None:
        """Move the folder and the outputs of a site that was destroyed; where they are then."""
        things = {"terraform": self.folder, "outputs.json": outputs}
        return set_aside(self._state, self._profile, self._site.name, things)

    @property
    def is_remote(self) -> bool:
        """True where the state is kept in a bucket."""
        return bool(self._site.backend)

    @property
    def place(self) -> str:
        """Where the state is kept: the backend, or an empty text for the site's folder."""
        if not self._site.backend:
            return ""
        return _json(_backend(self._profile, self._site)).decode()

    def read_deployment(self) -> "Deployment | None":
        """Return what the last deployment noted; None where there was none, or none is noted."""
        try:
            noted = json.loads(self._deployment.read_text(encoding="utf-8"))
            return Deployment(**{each.name: str(noted[each.name]) for each in fields(Deployment)})
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a note that only ever adds a check

    def note_deployment(self, lineage: str) -> None:
        """Note which stack and which state belong to this site."""
        noted = Deployment(self._site.stack, lineage, self.place)
        _put(self._deployment, _json(asdict(noted)))

    @property
    def _deployment(self) -> Path:
        return self.folder / "deployment.json"

    @property
    def _stamp(self) -> Path:
        # In the data folder, so that it goes when that goes.
        return self.folder / _DATA / "initialised"

    def _fingerprint(self, using: tuple[object, ...]) -> str:
        digest = hashlib.sha256(repr(using).encode())
        for name in ("versions.tf", BACKEND, ".terraform.lock.hcl"):
            path = self.folder / name
            digest.update(path.read_bytes() if path.exists() else b"-")
        return digest.hexdigest()

    def _variables(self) -> dict[str, Any]:
        site = self._site
        own: dict[str, Any] = {
            key: site.settings[key] for key in ("region", "project") if key in site.settings
        }
        return {
            **self._thresholds,
            **site.variables,
            **own,
            "name": site.stack,
            "bundle": BUNDLE,  # from where Terraform runs: the same on every machine
        }


def _holder(lock: Lock) -> str:
    process = lock.holder()
    if process is None:
        return ""
    since = datetime.fromtimestamp(process.create_time(), UTC)
    return f" since {since:%Y-%m-%d %H:%M:%S} UTC (process {process.pid})"


def _backend(profile: str, site: SiteConfig) -> dict[str, Any]:
    options = dict(site.backend)
    kind = options.pop("type")
    # With the profile: others may keep their states in the same bucket.
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
    """The provider's settings for the embedded AWS, beside the module and not in it."""
    provider = {
        # It takes any, and these are no secret.
        "access_key": "test",
        "secret_key": "test",
        "s3_use_path_style": True,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "endpoints": [dict.fromkeys(SERVICES, url)],
    }
    # No alarms: ministack forgets most of what an alarm is, and every plan would change them all.
    alarms: dict[str, Any] = {"aws_cloudwatch_metric_alarm": {"this": {"for_each": {}}}}
    return {"provider": {"aws": provider}, "resource": alarms}


def _put(path: Path, content: bytes) -> None:
    try:
        path.touch(0o600)
        path.write_bytes(content)
    except OSError as error:
        raise McloudError(f"{path} cannot be written: {error.strerror}") from error


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
