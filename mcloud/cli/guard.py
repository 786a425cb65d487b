"""``mcloud guard``"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli import background
from mcloud.cli.help import group
from mcloud.cli.options import DETACH
from mcloud.cli.session import Session, command
from mcloud.errors import McloudError, UsageError

if TYPE_CHECKING:
    from mcloud.failover.guard import Guard
    from mcloud.failover.statement import GuardState
    from mcloud.runs import Run

TELLING = 5.0  # seconds that the last notifications may take at the end

NAME = Annotated[str, typer.Option(metavar="NAME", help="Name of the guard.")]
WHY = Annotated[
    str, typer.Option(metavar="TEXT", help="Reason, shown by all guards and in the audit log.")
]
HELP = """Watch the sites, and fail over when the primary is down.

Settings are in [guard] of mcloud.toml.

Examples:
mcloud guard run --detach
mcloud guard status
mcloud guard pause --why "maintenance"
"""


def register(app: typer.Typer) -> None:
    guard = group(app, "guard", HELP)
    for function in (run, pause, resume, explain, status):
        command(guard)(function)


def run(
    session: Session,
    name: NAME = "guard",
    detach: DETACH = False,
) -> None:
    """Watch the sites until Ctrl-C, and fail over when necessary.

    Examples:
    mcloud guard run
    mcloud guard run --name second --detach
    """
    from mcloud import runs
    from mcloud.clouds.observation import DOWN
    from mcloud.failover.audit import operator
    from mcloud.failover.execution import tools
    from mcloud.failover.guard import Guard
    from mcloud.failover.health import HealthWatch
    from mcloud.failover.settings import guard_settings
    from mcloud.failover.statement import GuardState
    from mcloud.notify.channels import channels
    from mcloud.notify.open import open_shared
    from mcloud.notify.silences import Silences
    from mcloud.run_states import previous_state

    config = session.config
    settings = guard_settings(config)
    mine = runs.run_of(config.state / "guards", name)
    if detach:
        background.detach(session, mine)
        return
    channels(config)  # errors in them are reported before anything starts
    sites = session.sites()
    if len(sites) < 2:
        raise UsageError("a guard needs at least two sites")
    stop = threading.Event()
    with background.alone(mine):
        before = previous_state(mine, GuardState, session.warn)
        watch = HealthWatch(sites, settings, known=before.record if before else None)
        use = tools(
            *(config.state, config.profile, f"guard {name}", sites),
            routes=lambda: session.runs().routes,
        )
        log = mine.logger()
        quiet = Silences(sites, not_before=before.at if before else 0.0)
        notifier = open_shared(config, sites, mine.folder / "told.json", quiet, log)
        log.info("starts: %s", ", ".join(f"{n} {v}" for n, v in asdict(settings).items()))
        guard = Guard(
            sites,
            settings,
            use,
            by=f"guard {name}, {operator()}",
            watch=watch,
            were_down=[
                site
                for site, each in (before.sites.items() if before else ())
                if each.verdict == DOWN
            ],
            notify=notifier.send,
            log=log,
        )
        with background.stopping(stop), _watching(session, mine, guard) as each:
            guard.run(stop, each)
        notifier.close(TELLING)
        for failure in notifier.failures():
            log.warning("not notified: %s", failure)
        mine.write(guard.state())
        log.info("ends")


def pause(session: Session, why: WHY = "") -> None:
    """Pause all guards, on all machines, until `resume`.

    A guard that is paused keeps watching, and does not fail over.

    Examples:
    mcloud guard pause
    mcloud guard pause --why "maintenance of aws"
    """
    _change_pause(session, why, paused=True)


def resume(session: Session, why: WHY = "") -> None:
    """Let the paused guards act again.

    Examples:
    mcloud guard resume
    mcloud guard resume --why "the maintenance is done"
    """
    _change_pause(session, why, paused=False)


def explain(
    session: Session,
    name: NAME = "guard",
    last: Annotated[
        int, typer.Option(min=0, metavar="COUNT", help="Number of earlier decisions to show.")
    ] = 10,
) -> None:
    """Show what a guard decided and why.

    Examples:
    mcloud guard explain
    mcloud guard explain --last 50 -o json
    """
    state = _state(session, name)
    if session.output == "json":
        session.print_json({"decision": state.decision, "history": state.history[-1 - last :]})
        return
    from mcloud.drawing.failover import explanation

    session.print(explanation(state, last))


def status(session: Session, name: NAME = "guard") -> None:
    """Show how a guard sees the sites.

    Examples:
    mcloud guard status
    mcloud guard status -o json
    """
    state = _state(session, name)
    if session.output == "json":
        session.print_json(state)
        return
    from mcloud.drawing.failover import panel

    session.print(panel(state))


def _change_pause(session: Session, why: str, *, paused: bool) -> None:
    from mcloud.failover.pause import change_and_record

    changed = change_and_record(
        session.sites(), session.config.state, paused=paused, why=why, at=time.time()
    )
    if session.output == "json":
        session.print_json(changed)
    for site, reason in changed.away.items():
        session.warn(
            f"{site} could not store it; the next guard that reaches the site will: {reason}"
        )
    session.say("all guards are paused" if paused else "the guards are active again")


def _state(session: Session, name: str) -> "GuardState":
    (guard,) = session.runs(name).guards or (None,)
    if guard is None or (guard.state is None and not guard.damaged):
        raise McloudError(
            f"no guard called {name!r} has run here", remedy="`mcloud guard run` starts one"
        )
    if guard.state is None:
        raise McloudError(guard.damaged)
    return guard.state


@contextmanager
def _watching(session: Session, run: "Run", guard: "Guard") -> "Iterator[Callable[[], None]]":
    """Write the state document and draw the panel after every check."""
    from mcloud.cli import progress
    from mcloud.drawing.failover import panel

    def each() -> None:
        state = guard.state()
        run.write(state)
        if draw:
            draw(panel(state))

    with progress.panel(session) as draw:
        yield each
