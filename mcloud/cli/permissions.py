"""``mcloud permissions``"""

from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from mcloud.config import Config, SiteConfig

ROLES = ("deployer", "planner")


def register(app: typer.Typer) -> None:
    command(app)(permissions)


def permissions(
    session: Session,
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="deployer, for `mcloud deploy` and `mcloud destroy`, or planner, for"
            " `mcloud plan`.",
        ),
    ] = "deployer",
) -> None:
    """Print the policy or the custom role that a deployment needs.

    It is an IAM policy for AWS, and the definition of a custom role for Google Cloud. The
    deployment itself creates the roles of producers, replicators and operators.

    Examples:
    mcloud permissions aws
    mcloud permissions gcp --role planner
    """
    from mcloud.config import LOCAL, unknown
    from mcloud.errors import UsageError

    if role not in ROLES:
        raise unknown("role", role, ROLES)
    if session.config.profile == LOCAL:
        raise UsageError("the embedded clouds need no permissions", remedy="use another profile")
    sites = session.config.sites
    if site not in sites:
        raise unknown("site", site, sites)
    session.print_json(_document(session.config, sites[site], role))


def _document(config: "Config", site: "SiteConfig", role: str) -> object:
    from mcloud.clouds.aws import permissions as aws
    from mcloud.clouds.aws.client import partition_of
    from mcloud.clouds.gcp import permissions as gcp
    from mcloud.infra.workspace import backend_of
    from mcloud.sites.resources import known_settings

    if site.cloud == "gcp":
        return gcp.custom_role(role, site.stack)
    region = str(known_settings(config, site)["region"].value)
    state = None
    if site.backend.get("type") == "s3":
        options = backend_of(config.profile, site)["terraform"]["backend"]["s3"]
        state = aws.StateLocation(options["bucket"], options["key"])
    return aws.policy(role, partition_of(region), region, site.stack, state)
