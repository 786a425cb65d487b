"""Run all ordered pairs of some sites independently: a pair that hangs does not block others."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from mcloud import best_effort
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError, UsageError
from mcloud.files import make_private
from mcloud.lock import Lock
from mcloud.replication.change_follower import Pauses
from mcloud.replication.copier import TRANSFERS, Copier
from mcloud.replication.known_states import KnownStates
from mcloud.replication.pair import Pair
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import PairProgress, ReplicatorState
from mcloud.replication.scope import Scope
from mcloud.workers import Workers

THREADS = 8  # threads for the requests of a pair, without those for raw objects
TICK = 0.25  # seconds between two progress reports
LAST_WORDS = 1.0  # seconds that a pair may take to stop
ATTEMPTS = 5  # failures in a row before a single pass gives up
NOTE = 30.0  # seconds between two records of the lag at the target
FOLLOWING = Pauses()
AT_ONCE = Pauses(busy=0.0, idle=0.5, raw=0.0, waits=False)


@contextmanager
def open_pairs(
    sites: Mapping[str, Site],
    sources: Sequence[str],
    targets: Sequence[str],
    folder: Path,
    scope: Scope,
    *,
    identities: Mapping[str, str],
    pauses: Pauses = FOLLOWING,
    processes: int = 0,
    log: logging.Logger | None = None,
) -> Iterator[list[Pair]]:
    """Open every pair of a source and another target, and lock them on this machine.

    Args:
        folder: folder of the state files.
        identities: resources behind the name of each site, such as its tables. If they have
            changed, everything is compared again.
        processes: number of other processes for each pair; see ``copier.Copier``.

    Raises:
        UsageError: the sources and targets have no pair of two different sites.
        McloudError: a pair is being replicated already.
    """
    names = [(source, target) for source in sources for target in targets if source != target]
    if not names:
        raise UsageError(
            f"nothing to replicate from {', '.join(sources)} to {', '.join(targets)};"
            " choose two different sites"
        )
    best_effort.attempt(folder, lambda: make_private(folder))
    known = {name: KnownStates() for name in sites}
    with ExitStack() as open_:
        pairs = []
        for source, target in names:
            path = folder / file_name(source, target, scope)
            _lock(open_, path.with_suffix(".lock"), f"{source} to {target}")
            state = PairState(path, f"{scope}, from {identities[source]} to {identities[target]}")
            workers, movers = Workers(THREADS), Workers(TRANSFERS)
            copier = Copier(sites[source], sites[target], movers, processes=processes)
            for each in (workers, movers, copier):
                open_.callback(each.close)
            pairs.append(
                Pair(
                    sites[source],
                    sites[target],
                    state,
                    scope,
                    known=known,
                    workers=workers,
                    copier=copier,
                    pauses=pauses,
                    log=log,
                )
            )
        yield pairs


def file_name(source: str, target: str, scope: Scope) -> str:
    """Return the name of a pair's state file. It is unique for the sites and the shard."""
    number, of = scope.shard
    part = "" if of == 1 else f"+{number + 1}-of-{of}"
    return f"{quote(source, safe='')}+{quote(target, safe='')}{part}.sqlite"


def replicate(
    pairs: Sequence[Pair],
    *,
    once: bool = False,
    part: str = "all",
    stop: threading.Event | None = None,
    progress: Callable[[list[PairProgress]], None] = lambda progress: None,
) -> list[PairProgress]:
    """Replicate from the sources to the targets until ``stop`` is set.

    Args:
        once: return when a pass over all pairs has copied nothing, or a site stays unavailable.
        part: the share of the symbols; see ``ports.Lag``.
        progress: called with the progress of all pairs, every ``TICK`` seconds.
    """
    stop = stop or threading.Event()
    while True:
        before = sum(pair.progress().moved for pair in pairs)
        for pair in pairs:
            pair.look_again()
        threads = [
            threading.Thread(
                target=_run, args=(pair, once, part, stop), name=pair.name, daemon=True
            )
            for pair in pairs
        ]
        for thread in threads:
            thread.start()
        while (left := [each for each in threads if each.is_alive()]) and not stop.is_set():
            left[0].join(TICK)
            progress([pair.progress() for pair in pairs])
        # A call that hangs is not awaited, because the next run repeats it.
        deadline = time.monotonic() + LAST_WORDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()) if stop.is_set() else None)
        now = [pair.progress() for pair in pairs]
        progress(now)
        has_moved = sum(each.moved for each in now) > before
        if stop.is_set() or not has_moved or any(pair.failures for pair in pairs):
            return now


def _run(pair: Pair, once: bool, part: str, stop: threading.Event) -> None:
    noted = float("-inf")
    while not stop.is_set():
        wait = pair.step()
        is_over = once and (pair.is_idle or pair.failures >= ATTEMPTS)
        if is_over or time.monotonic() >= noted + NOTE:
            noted = time.monotonic()
            pair.note_lag(part)
        if is_over:
            return
        stop.wait(wait)


def _lock(open_: ExitStack, path: Path, name: str) -> None:
    lock = Lock(path)
    try:
        if open_.enter_context(lock.held()):
            return
    except OSError as error:
        # Without a lock, two replicators may copy the same data twice, which is harmless.
        best_effort.note_refusal(path, error)
        return
    raise McloudError(
        f"{name} is already being replicated (pid {lock.holder_pid()})",
        remedy="stop that replicator (see `mcloud ps`), or exclude this pair with --from and --to",
    )


def replicator_state(
    name: str, scope: Scope, once: bool, progress: Sequence[PairProgress]
) -> ReplicatorState:
    """Return the replicator's own state, for ``ps`` and ``status``."""
    return ReplicatorState(
        pid=os.getpid(),
        at=time.time(),
        pairs=tuple(progress),
        name=name,
        what=tuple(sorted(scope.what)),
        symbols=None if scope.symbols is None else tuple(sorted(scope.symbols)),
        shard=scope.part,
        once=once,
    )
