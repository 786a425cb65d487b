"""``mcloud lock``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.clouds.resources import CLOUDS


def register(app: typer.Typer) -> None:
    command(app)(lock)


def lock(
    session: Session,
    cloud: Annotated[
        str | None,
        typer.Argument(help="aws, gcp or aws,gcp. Default: the clouds of the profile's sites."),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="OS_ARCH",
            help="Platform whose packages are allowed, such as linux_amd64. Repeatable."
            " Default: linux and darwin, amd64 and arm64.",
        ),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Use the newest versions that the modules allow.")
    ] = False,
) -> None:
    """Pin the Terraform providers to versions and checksums.

    It writes `mcloud.CLOUD.lock.hcl` beside mcloud.toml, for your version control. From then on
    `plan`, `deploy` and `destroy` use these packages and no others, on every machine. Terraform
    downloads the packages of all platforms for this.

    Examples:
    mcloud lock
    mcloud lock aws --upgrade
    mcloud lock --platform linux_amd64
    """
    from mcloud import config
    from mcloud.cli.progress import waiting
    from mcloud.infra import provider_locks

    used = {site.cloud for site in session.config.sites.values()}
    clouds = config.select([each for each in CLOUDS if each in used] or CLOUDS, cloud)
    platforms = tuple(platform or provider_locks.PLATFORMS)
    written = {}
    for each in clouds:
        with waiting(session, f"fetching the providers of {each}"):
            written[each] = provider_locks.lock(session.config, each, platforms, upgrade=upgrade)
    if session.output == "json":
        session.print_json(
            {
                name: {"path": str(each.path), "providers": each.providers}
                for name, each in written.items()
            }
        )
        return
    for done in written.values():
        versions = ", ".join(f"{name} {version}" for name, version in done.providers.items())
        print(f"{done.path.name}: {versions}, for {', '.join(platforms)}")
