"""Function bundles: the handler, the domain and one cloud's adapters, as zip files.

Bundles are reproducible: file names are sorted, and dates and permissions are fixed. The same
sources therefore give the same bytes, and a deployment without changes uploads nothing.
"""

import io
import zipfile
from pathlib import Path

from mcloud.errors import McloudError

PACKAGE = Path(__file__).resolve().parent.parent

_SHARED = (
    "__init__.py",
    "backoff.py",
    "clock.py",
    "deadline.py",
    "documents.py",
    "errors.py",
    "http.py",
    "local_faults.py",
    "workers.py",
    "archive/*.py",
    "market/*.py",
    "processor/*.py",
    "clouds/__init__.py",
    "clouds/anomalies.py",
    "clouds/batches.py",
    "clouds/cache.py",
    "clouds/causes.py",
    "clouds/control.py",
    "clouds/heartbeats.py",
    "clouds/optimistic.py",
    "clouds/otlp.py",
    "clouds/ports.py",
    "clouds/positions.py",
    "clouds/resources.py",
    "clouds/spans.py",
    "clouds/staged.py",
)
_ADAPTERS = (
    *("__init__", "archive", "candles", "causes", "changes"),
    *("client", "conditional", "control", "delivery", "queue", "shards", "spans"),
)
"""Modules of ``clouds/aws`` and ``clouds/gcp`` that functions use; the others are for operators."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can hold


def build(cloud: str) -> bytes:
    """Return the bundle for ``aws`` (a Lambda zip) or ``gcp`` (a Cloud Functions source zip)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(contents(cloud).items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3  # Unix, also when built on Windows
            archive.writestr(info, content)
    return packed.getvalue()


def contents(cloud: str) -> dict[str, bytes]:
    """Return the files of a bundle by their names in it."""
    handlers = shipped("functions") / cloud
    files = {
        path.name: path.read_bytes()
        for path in handlers.iterdir()
        if path.suffix in (".py", ".txt")
    }
    adapters = [f"clouds/{cloud}/{name}.py" for name in _ADAPTERS]
    for pattern in (*_SHARED, *adapters):
        for path in PACKAGE.glob(pattern):
            files[f"mcloud/{path.relative_to(PACKAGE).as_posix()}"] = path.read_bytes()
    return files


def module_files(cloud: str) -> dict[str, bytes]:
    """Return the files of a cloud's Terraform module by their names."""
    module = shipped("terraform") / cloud
    return {path.name: path.read_bytes() for path in module.glob("*.tf")}


def shipped(folder: str) -> Path:
    """Return the folder ``functions`` or ``terraform``: in an installed wheel, or beside the
    package in a checkout.

    Raises:
        McloudError: it is in neither place, because the installation is damaged.
    """
    for place in (PACKAGE / "_bundled" / folder, PACKAGE.parent / folder):
        if place.is_dir():
            return place
    raise McloudError(f"{folder}/ is missing from this installation", remedy="reinstall mcloud")
