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
        from dataclasses import asdict

        session.print_json(
            {
                "settings": {name: asdict(each) for name, each in settings.items()},
                "ignored": {
                    name: {"origin": config.origins[name], "reason": why}
                    for name, why in config.ignored.items()
                },
            }
        )
        return
    import json

    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "value")
    for name, each in settings.items():
        plain = each.value if isinstance(each.value, str) else json.dumps(each.value)
        table.add_row(*map(Text, (name, plain, each.origin)))
    for name, why in config.ignored.items():
        table.add_row(Text(name, "dim"), Text(f"no effect: {why}", "dim"), config.origins[name])
    session.print(table)
