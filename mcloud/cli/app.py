"""``mcloud``: the root command.

Start-up is quick because a command is loaded only when the command line, or the line that the shell
wants completed, mentions it; all others are a name and a sentence. Nothing here may load an SDK,
gRPC, pydantic or rich, and a command's module imports what it needs when it runs.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from mcloud import __version__
from mcloud.cli.session import Session

COMMANDS = {
    "demo": "Run it all on embedded clouds, outage and all, and prove it.",
    "init": "Write mcloud.toml from flags, .env files and answers.",
    "doctor": "Check all that mcloud needs; exit 3 where something is wrong.",
    "config": "The settings in effect, and where each comes from.",
    "plan": "Show what `deploy` would change, and what has drifted.",
    "deploy": "Build sites, or bring them up to date, and see that they work.",
    "destroy": "Take sites down with their data, protected or not.",
    "local": "The embedded clouds: both sites on this machine.",
    "produce": "Deliver trades to the sites, and lose none of them.",
    "ps": "List what runs here: what waits, what is missing.",
    "stop": "End what runs here, once it has delivered what it read.",
    "logs": "Show the log of what runs here.",
    "candles": "Read the candles of a symbol.",
    "trace": "Show where a trade was and when; exit 3 where it is nowhere.",
    "anomalies": "List price jumps, volume spikes and drifts of prices.",
    "replicate": "Bring what one site has to the others, in every direction.",
    "verify": "Compare the sites and name what is off; exit 3 if anything is.",
    "compact": "Put the small objects of the raw archive into blocks of 100,000 trade ids.",
    "resolve": "Choose between two contents that `verify` found, on all sites.",
    "restore": "Fill a site with what another one has; resumable.",
    "failover": "Have another site lead; its producers follow within seconds.",
    "guard": "Watch the sites, and fail over when the one that leads is down.",
    "drill": "Rehearse an outage; exit 1 if anything is lost or inexact.",
    "dlq": "Dead letters: messages that could not be processed.",
    "cost": "What it costs, what it will cost, what would cost less.",
    "status": "Show each site on one screen; exit 3 where something is wrong.",
    "monitor": "Watch all sites live; keys: q, p, + and -, 1 to 9, ?.",
    "metrics": "Print all figures in Prometheus's format, or serve them.",
    "alerts": "Rules over all figures, and the channels that tell what fires.",
    "documents": "Stored documents that are damaged: list and repair them.",
    "outputs": "Show each site's resource names and URLs.",
}
"""By name, each in the module of that name beside this one, with the first line of its help."""


def main() -> None:
    """Run the command line of this process."""
    completed = os.environ.get("COMP_WORDS", "") + os.environ.get("_TYPER_COMPLETE_ARGS", "")
    make_app({*sys.argv[1:], *completed.split()})()


def make_app(mentioned: set[str]) -> typer.Typer:
    """The root command, with those of COMMANDS loaded that are mentioned."""
    app = typer.Typer(
        name="mcloud",
        no_args_is_help=True,
        # Rich help costs a third of a second at every start, and reads no better.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, help_ in COMMANDS.items():
        if name in mentioned:
            import_module(f"mcloud.cli.{name}").register(app)
        else:
            app.command(name, help=help_)(_not_loaded)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mcloud {__version__}")
        raise typer.Exit


def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say less.")] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more.")
    ] = 0,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile of mcloud.toml.")
    ] = None,
) -> None:
    """Run a market-data pipeline on two clouds at once and keep both right."""
    ctx.obj = Session(quiet=quiet, verbose=verbose, color=not no_color, profile=profile)


def _not_loaded() -> None:
    raise AssertionError("a command that is called is mentioned, and then it is loaded")
