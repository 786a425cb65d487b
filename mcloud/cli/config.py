"""``mcloud config``"""

import typer

from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="The settings in effect, and where each comes from.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(group, name="config")
    command(group)(show)


def show(session: Session) -> None:
    """Show the settings of the profile; what looks like a secret is masked."""
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
