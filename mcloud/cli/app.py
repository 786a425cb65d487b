"""``mcloud``: the root command.

Start-up is quick because a command is loaded only if the command line, or the line that the shell
completes, mentions it. Of all other commands only the name and the first line of the help are
known. Nothing here may load an SDK, gRPC, pydantic or rich, and the module of a command imports
what it needs when the command runs.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.main import get_command

from mcloud import __version__
from mcloud.cli.aliases import respelled
from mcloud.cli.help import HelpGroup, inner_commands
from mcloud.cli.session import NO_COLOR, PROFILE, QUIET, VERBOSE, Session

SECTIONS = {
    "Start": {
        "demo": "Run the whole system on embedded clouds and prove the result.",
        "init": "Write mcloud.toml from flags, .env files and answers.",
        "doctor": "Check everything that mcloud needs; exit 3 on a problem.",
        "config": "Show the effective settings and where each comes from.",
        "local": "Run both clouds on this machine (the embedded clouds).",
    },
    "Deploy": {
        "plan": "Show what `deploy` would change, and what has drifted.",
        "deploy": "Create or update sites, and check that they work.",
        "destroy": "Delete sites with all their data.",
        "lock": "Pin the Terraform providers to versions and checksums.",
        "outputs": "Show the resource names and URLs of each site.",
        "permissions": "Print the policy or the custom role that a deployment needs.",
    },
    "Operate": {
        "produce": "Read trades and deliver all of them to the sites.",
        "ps": "List the producers and other processes of this folder.",
        "stop": "Stop processes after they have delivered what they read.",
        "logs": "Show the logs of processes and functions, by time.",
        "status": "Show the verdict and what deviates; exit 3 on a problem.",
        "monitor": "Show a live dashboard of all sites.",
        "metrics": "Print all metrics in Prometheus format, or serve them.",
        "alerts": "List, watch and silence alerts, and test their channels.",
    },
    "Data": {
        "candles": "Read the candles of a symbol.",
        "export": "Write candles or trades as Parquet or CSV files.",
        "trace": "Show where a trade went and when; exit 3 if nowhere.",
        "anomalies": "List price jumps, volume spikes and price drifts.",
        "replicate": "Copy data between the sites, in every direction.",
        "verify": "Compare the sites; exit 3 if anything differs or is missing.",
        "resolve": "Choose between two contents that `verify` found.",
        "compact": "Move trades to large blocks of the raw archive.",
        "backfill": "Load past trades from published files; resumable.",
        "restore": "Fill a site with the data of another site; resumable.",
        "dlq": "List, show, redrive and drop dead letters.",
        "documents": "List and repair stored documents that are damaged.",
    },
    "Failover": {
        "failover": "Make another site the primary.",
        "guard": "Watch the sites, and fail over when the primary is down.",
        "drill": "Rehearse an outage; exit 1 if anything is lost or inexact.",
    },
    "Money": {
        "cost": "Estimate, report and reduce the cost of the pipeline.",
    },
}
"""Commands by section of the help, each with the first line of its own help. The module of the same
name beside this one defines the command."""

COMMANDS = {name: text for commands in SECTIONS.values() for name, text in commands.items()}


class Root(HelpGroup):
    """The root command. Its help lists the commands by section."""

    def section(self, name: str) -> str:
        return next(title for title, commands in SECTIONS.items() if name in commands)

    def similar(self, name: str) -> list[str]:
        """Return the commands of groups with the unknown name, or else similar ones."""
        every = get_command(make_app(set(COMMANDS)))
        return inner_commands(every, name) or super().similar(name)


def main() -> None:
    """Run the command line of this process."""
    words = respelled(sys.argv[1:])
    completed = os.environ.get("COMP_WORDS", "") + os.environ.get("_TYPER_COMPLETE_ARGS", "")
    make_app({*words, *completed.split()})(words, prog_name="mcloud")


def make_app(mentioned: set[str]) -> typer.Typer:
    """Return the root command. Only those of COMMANDS that are mentioned are loaded."""
    app = typer.Typer(
        name="mcloud",
        cls=Root,
        no_args_is_help=True,
        # Help drawn by rich would delay every start by a third of a second, and is no easier to
        # read.
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
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    quiet: QUIET = False,
    verbose: VERBOSE = 0,
    no_color: NO_COLOR = False,
    profile: PROFILE = None,
) -> None:
    """Run a market-data pipeline on two clouds at once and keep both right.

    Run `mcloud help COMMAND` for the options and examples of a command.

    Examples:
    mcloud demo
    mcloud local up
    mcloud status --profile prod
    """
    ctx.obj = Session(quiet=quiet, verbose=verbose, color=not no_color, profile=profile)


def _not_loaded() -> None:
    raise AssertionError("a command that is called is on the command line, and is therefore loaded")
