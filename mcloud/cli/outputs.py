"""``mcloud outputs``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(outputs)


def outputs(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
) -> None:
    """Show the resource names and URLs of each site.

    Examples:
    mcloud outputs
    mcloud outputs aws -o json
    """
    from mcloud import config
    from mcloud.sites.resources import site_resources

    resources = site_resources(session.config)
    names = config.select(resources, site)
    if session.output == "json":
        session.print_json({name: resources[name].to_outputs() for name in names})
        return
    from rich.table import Table

    for name in names:
        table = Table(title=name, title_justify="left", show_header=False, box=None)
        for key, value in resources[name].to_outputs().items():
            table.add_row(key, value)
        session.print(table)
