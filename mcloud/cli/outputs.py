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
    from mcloud.sites.resources import origin_of, site_resources

    resources = site_resources(session.config)
    names = config.select(resources, site)
    for name in names:
        remote = session.config.outputs.read_remote(name)
        if remote and not session.config.outputs.path(name).exists():
            session.say(f"{name}: {origin_of(remote)}")
    if session.output == "json":
        session.print_json({name: resources[name].to_outputs() for name in names})
        return
    from mcloud.drawing.outputs import table

    for name in names:
        session.print(table(name, resources[name].to_outputs()))
