"""``mcloud config``"""

import typer

from mcloud.cli.help import group
from mcloud.cli.session import Session, command

HELP = """Show the effective settings and where each comes from.

Examples:
mcloud config show
mcloud config show --profile prod -o json
"""


def register(app: typer.Typer) -> None:
    settings = group(app, "config", HELP)
    command(settings)(show)


def show(session: Session) -> None:
    """Show the settings of the profile, with secrets masked.

    A value comes from the first of these that has it: an option, an environment variable, the .env
    files, mcloud.toml, the outputs of Terraform, and the default.

    Examples:
    mcloud config show
    mcloud config show --profile prod -o json
    """
    from mcloud.sites.explain import explain

    config = session.config
    settings = explain(config)
    if session.output == "json":
        session.print_json(
            {
                "settings": settings,
                "ignored": {
                    name: {"origin": config.origins[name], "reason": why}
                    for name, why in config.ignored.items()
                },
            }
        )
        return
    from mcloud.config import Setting
    from mcloud.drawing.config import table

    ignored = {name: Setting(why, config.origins[name]) for name, why in config.ignored.items()}
    session.print(table(settings, ignored))
