"""Shared parts of all commands: output, the profile, and the handling of errors.

``command`` gives a function the options that all commands share (``-o``, ``-q``, ``-v``,
``--no-color``, ``--profile``) and hands it a ``Session`` as its first argument.
"""

import inspect
import logging
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_type_hints

import typer

from mcloud import best_effort
from mcloud.cli.help import COMMON, HelpCommand
from mcloud.errors import McloudError, UsageError
from mcloud.files import refusal
from mcloud.streams import leave_terminal, let_go

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mcloud.clouds.bounded import BoundedSite
    from mcloud.clouds.ports import Site
    from mcloud.config import Config
    from mcloud.documents import Json
    from mcloud.run_states import Runs

INTERRUPTED = 130
PIPE = 141  # 128 + SIGPIPE, as for any program whose output is cut off
UNBOUNDED = 10_000  # columns
LARGEST: Mapping[type, int] = {int: 2**53, float: 10**9}
"""Largest value of an option. Python cannot wait for ten times as many seconds."""

QUIET = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Show only warnings and errors.", rich_help_panel=COMMON),
]
VERBOSE = Annotated[
    int,
    typer.Option(
        *("-v", "--verbose"),
        count=True,
        show_default=False,
        help="Show more detail. -vv also shows tracebacks.",
        rich_help_panel=COMMON,
    ),
]
NO_COLOR = Annotated[
    bool, typer.Option("--no-color", help="Disable coloured output.", rich_help_panel=COMMON)
]
PROFILE = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Profile of mcloud.toml to use.",
        rich_help_panel=COMMON,
    ),
]

# A command of mcloud in a text that has no profile yet.
_ADVISED = re.compile(r"`(mcloud (?!local|init)(?:(?!--profile)[^`])+)`")

Command = TypeVar("Command", bound=Callable[..., None])


@dataclass(frozen=True)
class Session:
    """One run of a command. Data goes to stdout, and messages go to stderr."""

    output: str = "text"
    quiet: bool = False
    verbose: int = 0
    color: bool = True
    profile: str | None = None

    @cached_property
    def console(self) -> "Console":
        """Standard output."""
        return self._console(sys.stdout)

    @cached_property
    def words(self) -> "Console":
        """Standard error."""
        return self._console(sys.stderr)

    @cached_property
    def config(self) -> "Config":
        from mcloud import config

        return config.current(self.profile)

    def sites(self, wanted: str | None = None) -> dict[str, "Site"]:
        """Open the sites of a comma-separated list, or all. Raise UsageError for an unknown
        site.
        """
        from mcloud.sites.resources import open_sites

        return open_sites(self.config, wanted)

    def readable_sites(self, wanted: str | None = None) -> "dict[str, BoundedSite]":
        """Open the sites like ``sites``, for a command that only reads. A site that does not answer
        delays it by less than two seconds, and less if this machine knows that it is down.
        """
        from mcloud.observing.known import known_outages
        from mcloud.sites.resources import open_bounded_sites

        return open_bounded_sites(
            self.config, wanted, known_outages(self.config.state, time.time())
        )

    def runs(self, name: str | None = None) -> "Runs":
        """Return the runs of this folder, both running and ended ones: all of them, or those called
        ``name``."""
        from mcloud.run_states import runs_of

        return runs_of(self.config.state, name)

    @property
    def live(self) -> bool:
        """Whether progress can be drawn: standard error is a terminal."""
        return sys.stderr.isatty() and not self.quiet and os.environ.get("TERM") != "dumb"

    def advice(self, text: str) -> str:
        """Return a text in which each command of mcloud runs in the profile of this one.

        Only ``--profile`` is added, because the environment and mcloud.toml apply to the next
        command too. Without it the advised command would use the sites of another profile.
        """
        if self.profile is None:
            return text
        option = f" --profile {shlex.quote(self.profile)}"
        return _ADVISED.sub(lambda found: f"`{found[1]}{option}`", text)

    def again(self, *options: str) -> str:
        """Return the command line of this process with further options."""
        return shlex.join(("mcloud", *sys.argv[1:], *options))

    def say(self, text: str) -> None:
        """Print a line for the user, unless ``-q`` is given."""
        if not self.quiet:
            _say(self.advice(text))

    def warn(self, text: str) -> None:
        """Print a warning, which ``-q`` does not hide."""
        _say(f"warning: {self.advice(text)}")

    def fail(self, text: str) -> None:
        """Print why something failed."""
        _say(f"error: {self.advice(text)}")

    def print(self, renderable: "RenderableType") -> None:
        """Print the result of the command for a person."""
        self.console.print(renderable)

    def print_json(self, answer: object) -> None:
        """Print the command's answer for a program: dataclasses and plain values, as JSON."""
        import json

        from mcloud.documents import encode

        document = encode(answer)
        if self.profile is not None:
            document = _each_text(document, self.advice)
        print(json.dumps(document, indent=2))

    def print_line(self, answer: object) -> None:
        """Print one document of a stream for a program, as a line of JSON."""
        import json

        from mcloud.documents import encode

        print(json.dumps(encode(answer)), flush=True)

    def _console(self, file: IO[str]) -> "Console":
        from rich.console import Console

        class Pipe(Console):
            def on_broken_pipe(self) -> None:
                raise  # the current error, which _guard handles; rich would exit with 1

        # In a pipe, rich would assume 80 columns and cut lines. A file has no width.
        width = None if file.isatty() else UNBOUNDED
        color = self.color and not os.environ.get("NO_COLOR")
        return Pipe(file=file, no_color=not color, highlight=False, width=width)


def command(
    app: typer.Typer, name: str | None = None, *, formats: tuple[str, ...] = ("text", "json")
) -> Callable[[Command], Command]:
    """Register ``function(session, …)`` as a command. ``formats`` are the values of ``-o``."""

    def register(function: Command) -> Command:
        registered = app.command(name or function.__name__.replace("_", "-"), cls=HelpCommand)
        registered(_runner(function, formats))
        return function

    return register


def default(
    group: typer.Typer, *, formats: tuple[str, ...] = ("text", "json")
) -> Callable[[Command], Command]:
    """Register the default of a group, which runs if none of its commands is given."""

    def register(function: Command) -> Command:
        group.callback(invoke_without_command=True)(_runner(function, formats))
        return function

    return register


def _runner(function: Callable[..., None], formats: tuple[str, ...]) -> Callable[..., None]:
    def run(ctx: typer.Context, **arguments: Any) -> None:
        session = _session(ctx, **{each: arguments.pop(each) for each in _shared(formats)})
        if ctx.invoked_subcommand is None:

            def invoke() -> None:
                _check_numbers(ctx)
                function(_checked(session, formats), **arguments)

            _guard(invoke, session)
        else:
            _guard(lambda: _refuse_misplaced(ctx), session)

    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in own),
        *_shared(formats).values(),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = function.__doc__
    return run


def _check_numbers(ctx: typer.Context) -> None:
    """Raise UsageError for numbers that no command can use, such as nan and inf."""
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        largest = LARGEST.get(type(value))
        # Not `>`, which is false for nan.
        if value is not None and largest is not None and not abs(value) <= largest:
            option = parameter.opts[-1]
            raise UsageError(f"{option} must be a number up to {largest:,}, not {value}")


def _refuse_misplaced(ctx: typer.Context) -> None:
    """Raise UsageError for options of a group before one of its commands, which would be lost."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            named = f"{ctx.info_name} {ctx.invoked_subcommand}"
            raise UsageError(f"{parameter.opts[-1]} must follow `{named}`")


def _shared(formats: tuple[str, ...]) -> dict[str, inspect.Parameter]:
    output = typer.Option(
        *("-o", "--output"),
        metavar="FORMAT",
        help=f"Output format: {', '.join(formats)}.",
        rich_help_panel=COMMON,
    )
    options: dict[str, tuple[object, object]] = {
        "output": (Annotated[str, output], formats[0]),
        "quiet": (QUIET, False),
        "verbose": (VERBOSE, 0),
        "no_color": (NO_COLOR, False),
        "profile": (PROFILE, None),
    }
    return {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in options.items()
    }


def _session(
    ctx: typer.Context,
    *,
    output: str,
    quiet: bool,
    verbose: int,
    no_color: bool,
    profile: str | None,
) -> Session:
    """Return the session. Options after the command take precedence over those before it."""
    root = ctx.obj if isinstance(ctx.obj, Session) else Session()
    return replace(
        root,
        output=output,
        quiet=quiet or root.quiet,
        verbose=max(verbose, root.verbose),
        color=root.color and not no_color,
        profile=profile or root.profile,
    )


def _checked(session: Session, formats: tuple[str, ...]) -> Session:
    if session.output not in formats:
        from mcloud.config import unknown

        raise unknown("output format", session.output, formats)
    return session


def _guard(run: Callable[[], None], session: Session) -> None:
    """Convert the exception of a command to one line on stderr and an exit code."""
    # SIGTERM acts like Ctrl-C, so that everything that a command started is cleaned up.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, lambda *_: _hang_up())
    signal.signal(signal.SIGALRM, lambda *_: _interrupt())
    sys.unraisablehook = _interrupt_again
    for log in (best_effort.log, logging.getLogger("mcloud.sites.resources")):
        log.addHandler(_WARNINGS)
    # Logs and warnings of libraries are for developers.
    logging.lastResort = logging.NullHandler()
    try:
        run()
        # Flushed here, because an error at the end of the interpreter could not be handled.
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):  # typer raises Abort at a prompt
        _report_interrupt()
    except BrokenPipeError:
        # The reader of the output is gone, as after `head`. The exit code is not 0, because the
        # command did not complete.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE) from None
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - what is left of it is a sentence and an exit code
        # Python turns an interrupt during the creation of a class into a RuntimeError.
        if isinstance(error.__cause__, KeyboardInterrupt):
            _report_interrupt()
        if session.verbose >= 2:
            import traceback

            traceback.print_exc()
        ours = error if isinstance(error, McloudError) else refusal(error)
        let_go()
        if ours is None:
            _say(
                f"error: {type(error).__name__}: {error}; "
                "this is a bug in mcloud: run it again with -vv and report the output"
            )
            raise typer.Exit(1) from None
        session.fail(str(ours))
        raise typer.Exit(ours.exit_code) from None


def _report_interrupt() -> NoReturn:
    # If the interrupt hit code inside an exec(), such as the creation of a dataclass, a
    # ``python -m`` remembers it and dies of SIGINT at its end. Another exec() resets that.
    exec("")
    _say("interrupted")
    raise typer.Exit(INTERRUPTED) from None


def _each_text(value: "Json", change: Callable[[str], str]) -> "Json":
    """Return a copy of a document in which each text was replaced by ``change`` of it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    return value


def _say(text: str) -> None:
    """Print a line on stderr. If that fails, as with a log on a full disk, the work continues."""
    with suppress(OSError):
        print(text, file=sys.stderr)


class _Warnings(logging.Handler):
    """Prints the warnings of code that has no session."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(f"warning: {record.getMessage()}")


_WARNINGS = _Warnings()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _hang_up() -> None:
    """Treat the loss of the terminal like Ctrl-C, once."""
    leave_terminal()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _interrupt()


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Repeat a Ctrl-C that Python dropped because it came in a destructor or an import callback.

    This happens once in 250 times while modules are loaded. Raised here, it would be dropped too.
    """
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(dropped)
