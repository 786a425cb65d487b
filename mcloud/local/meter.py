"""Usage of the embedded clouds, counted as the real clouds bill it.

Each serving process counts for its site and writes the counts once a second. The counts are kept
and deleted together with the data of the clouds. The names are those of ``mcloud.cost.prices``.
Requests refused by an outage are not counted.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from mcloud import files
from mcloud.clouds.resources import CLOUDS
from mcloud.documents import Damaged, Time, read_file
from mcloud.errors import LocalError, McloudError

SAVE_SECONDS = 1.0

Count = Decimal | int

# The meter on the left is counted in whole units and read in the larger units on the right. The
# number is how many of the former are one of the latter.
_UNITS = {
    "lambda_mib_ms": ("lambda_gb_s", 1024 * 1000),
    "dynamodb_half_reads": ("dynamodb_reads", 2),
    "function_vcpu_ms": ("function_vcpu_s", 1000),
    "function_mib_ms": ("function_gib_s", 1024 * 1000),
}


def read(home: Path, month: str | None = None) -> dict[str, dict[str, Count]]:
    """Return the counts by site and meter, since the first ``up`` of the data or in one month
    (``2026-11``).

    Without embedded clouds, or before their first request, a site has no meters.
    """
    return {
        site: {meter: sum(split.values(), 0) for meter, split in meters.items()}
        for site, meters in read_split(home, month).items()
    }


def read_split(home: Path, month: str | None = None) -> dict[str, dict[str, dict[str, Count]]]:
    """Return the counts by resource: a queue, table, bucket, topic or function, or "" for none."""
    found: dict[str, dict[str, dict[str, Count]]] = {}
    for site in CLOUDS:
        meters: dict[str, dict[str, Count]] = defaultdict(dict)
        for name, saved in _load(_path(home, site)).months.items():
            if month not in (None, name):
                continue
            for raw, split in saved.items():
                meter, unit = _UNITS.get(raw, (raw, 1))
                for resource, amount in split.items():
                    count = amount if unit == 1 else Decimal(amount) / unit
                    meters[meter][resource] = meters[meter].get(resource, 0) + count
        found[site] = dict(meters)
    return found


def since(home: Path, site: str) -> float | None:
    """Return the time of the first count, in seconds since the epoch, or None if there is none."""
    return _load(_path(home, site)).since


class Meter:
    """The counts of one site, in the process that serves it. Any thread may add to them."""

    def __init__(self, home: Path, site: str, clock: Callable[[], float] = time.time) -> None:
        self._path = _path(home, site)
        self._clock = clock
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        saved = _load(self._path)
        self._since = saved.since or clock()
        self._months = saved.months
        self._saved_changes = 0
        self._changes = 0
        self._month = ""
        self._month_ends = 0.0

    def add(self, meter: str, resource: str, amount: int = 1) -> None:
        """Add a whole number of units to a resource."""
        with self._lock:
            meters = self._months.setdefault(self._now(), {})
            split = meters.setdefault(meter, {})
            split[resource] = split.get(resource, 0) + amount
            self._changes += 1

    def total(self, meter: str) -> dict[str, int]:
        """Return the total count of a meter, by resource."""
        totals: dict[str, int] = defaultdict(int)
        with self._lock:
            for meters in self._months.values():
                for resource, amount in meters.get(meter, {}).items():
                    totals[resource] += amount
        return totals

    def save(self) -> None:
        """Write the counts if they have changed. On a full disk, the next call tries again."""
        with self._saving:
            with self._lock:
                if self._changes == self._saved_changes:
                    return
                text = json.dumps({"since": self._since, "months": self._months})
                changes = self._changes
            with suppress(OSError, McloudError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                files.write(self._path, text, durable=False)
                self._saved_changes = changes

    def save_forever(self) -> None:
        """Write the counts once a second, in a separate thread."""
        while True:
            time.sleep(SAVE_SECONDS)
            self.save()

    def _now(self) -> str:
        """Return the month in UTC, as both clouds bill."""
        now = self._clock()
        if now >= self._month_ends:
            self._month = time.strftime("%Y-%m", time.gmtime(now))
            # no month ends within the next hour boundary
            self._month_ends = (now // 3600 + 1) * 3600
        return self._month


def _path(home: Path, site: str) -> Path:
    return home / "data" / "meters" / f"{site}.json"


def _load(path: Path) -> "_Saved":
    saved = read_file(path, _Saved)
    if isinstance(saved, Damaged):
        raise LocalError(
            f"{saved.where} is damaged: {saved.what}",
            remedy="delete it to start counting from 0, or run `mcloud local reset`",
        )
    return saved or _Saved(None, {})


@dataclass(frozen=True)
class _Saved:
    since: Time | None
    months: dict[str, dict[str, dict[str, int]]]
