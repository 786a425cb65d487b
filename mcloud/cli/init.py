"""``mcloud init``"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.clouds.resources import CLOUDS, Cloud
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.config import Config, Setting
    from mcloud.config.template import Answers


VARIABLES = {
    "aws_region": "AWS_REGION",
    "gcp_region": "GCP_REGION",
    "gcp_project": "GCP_PROJECT_ID",
}
"""Variables that may already have an answer."""

QUESTIONS = {
    "aws_region": "AWS region",
    "gcp_project": "Google Cloud project (Enter for none)",
    "gcp_region": "Google Cloud region",
    "alert_email": "Email address for alerts (Enter for none)",
    "budget": "Budget in USD per month (Enter for none)",
}

_SITES, _MONEY = "Sites", "Alerts and budget"


def register(app: typer.Typer) -> None:
    command(app)(init)


def init(
    session: Session,
    sites: Annotated[
        str | None,
        typer.Option(
            metavar="SITES",
            help="aws, gcp or aws,gcp. Default: aws, and gcp if a project is known.",
            rich_help_panel=_SITES,
        ),
    ] = None,
    aws_region: Annotated[
        str | None,
        typer.Option(
            metavar="REGION",
            help="AWS region. Default: us-east-1.",
            rich_help_panel=_SITES,
        ),
    ] = None,
    gcp_project: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Google Cloud project. Required for gcp.",
            rich_help_panel=_SITES,
        ),
    ] = None,
    gcp_region: Annotated[
        str | None,
        typer.Option(
            metavar="REGION",
            help="Google Cloud region. Default: us-central1.",
            rich_help_panel=_SITES,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Prefix of the names of all resources.",
            rich_help_panel=_SITES,
        ),
    ] = None,
    alert_email: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Email address that receives alerts.",
            rich_help_panel=_MONEY,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="USD",
            help="Budget in USD per month.",
            rich_help_panel=_MONEY,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing mcloud.toml.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Use the defaults instead of asking.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the file, and write nothing.")
    ] = False,
) -> None:
    """Write mcloud.toml from flags, .env files and answers.

    On a terminal it asks for what no option and no variable says.

    Examples:
    mcloud init
    mcloud init --sites aws --aws-region eu-central-1 --yes
    mcloud init --gcp-project my-project --budget 50 --dry-run
    """
    import os
    import sys

    from mcloud import config, files
    from mcloud.config import template, variables

    path = config.working_folder() / config.FILE
    if path.exists() and not (force or dry_run):
        raise UsageError(f"{path} already exists", remedy="use --force to replace it")
    flags = {
        "profile": session.profile,
        "aws_region": aws_region,
        "gcp_project": gcp_project,
        "gcp_region": gcp_region,
        "name": name,
        "alert_email": alert_email,
        "budget": None if budget is None else str(budget),
    }
    answers = _answers(
        tuple(config.select(CLOUDS, sites)) if sites else None,
        {key: flag for key, flag in flags.items() if flag is not None},
        variables.read(path.parent, os.environ),
        asks=not yes and sys.stdin.isatty() and sys.stderr.isatty(),
    )
    text = template.render(answers)
    if not dry_run:
        files.write(path, text, mode=0o666)
    if session.output == "json":
        session.print_json(
            {"profile": answers.profile, "sites": answers.sites, "text": text, "wrote": not dry_run}
        )
    elif dry_run:
        print(text, end="")
    if not dry_run:
        session.say(f"wrote {path.name}: profile {answers.profile}, {' and '.join(answers.sites)}")
        if not sites and "gcp" not in answers.sites:
            session.say(
                "gcp is left out because no project is known; edit the file, or use --gcp-project"
            )
        _warn(session, answers, config.load(answers.profile, path.parent, os.environ))
        _show_cost(session, answers)
        session.say("next: `mcloud doctor`, `mcloud plan`, `mcloud deploy`")


def _show_cost(session: Session, answers: "Answers") -> None:
    """Report the cost of one busy symbol on each of the sites."""
    from mcloud.config.produce import ProduceSettings
    from mcloud.cost.estimate import Load, estimate, net_of
    from mcloud.cost.words import usd

    load = Load(symbols=1, rate=30, freshness=ProduceSettings().freshness)
    lines = estimate(load, {site: site for site in answers.sites})
    costs = (f"{usd(net_of(lines, site, month=1))} on {site}" for site in answers.sites)
    session.say(
        f"one symbol with 30 trades/s costs about {' and '.join(costs)} in the first month;"
        " `mcloud cost estimate` shows other loads"
    )


def _answers(
    wanted: tuple[Cloud, ...] | None,
    flags: Mapping[str, str],
    given: "Mapping[str, Setting]",
    *,
    asks: bool,
) -> "Answers":
    from mcloud.config.template import Answers, check

    said = {key: check(key, flag) for key, flag in flags.items()}

    def find(key: str) -> None:
        """Set an answer: from a flag, or from the user, with the variable or the default as
        proposal.
        """
        if key in said:
            return
        default: str = getattr(Answers, key)
        if setting := given.get(VARIABLES.get(key, "")):
            try:
                default = check(key, setting.value)
            except UsageError as error:
                raise UsageError(f"{setting.origin}: {error}") from None
        said[key] = (
            _ask(QUESTIONS[key], default, lambda text: check(key, text)) if asks else default
        )

    if wanted is None or "gcp" in wanted:
        find("gcp_project")
    sites = wanted or (CLOUDS if said["gcp_project"] else CLOUDS[:1])
    if "gcp" in sites and not said["gcp_project"]:
        raise UsageError("the site gcp needs a project", remedy="use --gcp-project")
    for key in flags:
        site = key.partition("_")[0]
        if site in CLOUDS and site not in sites:
            option = f"--{key.replace('_', '-')}"
            raise UsageError(f"{option} is for the site {site}, which is left out")
    for site in sites:
        find(f"{site}_region")
    find("alert_email")
    find("budget")
    return Answers(sites=sites, **said)


def _ask(question: str, default: str, check: Callable[[str], str]) -> str:
    def accept(text: str) -> str:
        if text.strip() == default:
            return default
        try:
            return check(text.strip())
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None

    answer: str = typer.prompt(
        question, default=default, show_default=bool(default), value_proc=accept, err=True
    )
    return answer


def _warn(session: Session, answers: "Answers", config: "Config") -> None:
    """Warn about variables that override the file."""
    for site in config.sites.values():
        for key, value in site.settings.items():
            origin = config.origins[f"sites.{site.name}.{key}"]
            if value != getattr(answers, f"{site.name}_{key}", None):
                session.warn(
                    f"{origin} sets {key} of {site.name} to {value}, which overrides mcloud.toml"
                )
