"""``mcloud metrics``"""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import WAIT
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.observing.scrape import Listen, Tls

TICK = 0.25  # seconds between two checks for queries that are due
TOKEN = "MCLOUD_METRICS_TOKEN"


_SERVER = "Server (with --serve)"


def register(app: typer.Typer) -> None:
    command(app, formats=("text",))(metrics)


def metrics(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Answer scrapes until Ctrl-C.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Port on 127.0.0.1. Default: `port` in [monitor], or 9464.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="Seconds between two reads of the sites. Default: `interval` in [monitor], or 5.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT",
            help=f"Address to serve on. Other than loopback it needs a token ({TOKEN}) or TLS.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"File with the bearer token, instead of the variable {TOKEN}.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TLS certificate, in PEM format.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Private key of --tls-cert, in PEM format.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM file of the authority that signs the certificates of clients.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """Print all metrics in Prometheus format, or serve them.

    Examples:
    mcloud metrics
    mcloud metrics --serve --port 9464
    mcloud metrics --serve --listen 0.0.0.0:9464 --token-file token
    """
    from functools import partial

    from mcloud.cli import background
    from mcloud.cli.status import costing, look
    from mcloud.config import settings
    from mcloud.observing.exposition import exposition
    from mcloud.observing.machine import machine
    from mcloud.observing.queries import MonitorSettings
    from mcloud.observing.scrape import Listen, address, serving
    from mcloud.observing.watch import SnapshotWatch

    of_server = (listen, token_file, tls_cert, tls_key, client_ca)
    if not serve:
        if any(each is not None for each in of_server):
            raise UsageError("--listen, --token-file and the TLS options need --serve")
        print(exposition(look(session, site, wait=wait)), end="")
        return
    usual = settings(session.config, "monitor", MonitorSettings)
    if listen is not None and port is not None and ":" in listen.rpartition("]")[2]:
        raise UsageError(f"--listen {listen} already has a port; omit --port")
    where = (
        Listen(port=port or usual.port)
        if listen is None
        else Listen(*address(listen, port or usual.port))
    )
    where = Listen(
        where.host, where.port, _token(session, token_file), _tls(tls_cert, tls_key, client_ca)
    )
    sites = session.sites(site)
    watch = SnapshotWatch(
        sites,
        partial(machine, session.config.state),
        costing(session, sites),
        interval=interval or usual.interval,
    )
    stop, one = threading.Event(), threading.Lock()

    def text() -> str:
        with one:
            return exposition(watch.snapshot())

    with background.stopping(stop), serving(where, text) as url:
        session.say(f"{url}{_access(where)}; press Ctrl-C to stop")
        while not stop.wait(TICK):
            with one:
                watch.tick()
    raise typer.Exit(INTERRUPTED)


def _token(session: Session, file: Path | None) -> str | None:
    """Return the bearer token, from a file or the variable. Raise UsageError if it is too weak."""
    from mcloud.config import variables
    from mcloud.observing.scrape import TOKEN as LEAST

    if file is not None:
        try:
            found, origin = file.read_text().strip(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"--token-file {file} cannot be read: {why}") from None
    else:
        folder = session.config.document.path.parent
        known = variables.read(folder, os.environ, {TOKEN})
        if TOKEN not in known:
            return None
        found, origin = str(known[TOKEN].value).strip(), TOKEN
    if len(found) < LEAST or not found.isascii() or not found.isprintable() or " " in found:
        raise UsageError(
            f"the token in {origin} is not valid: it needs at least {LEAST} ASCII characters,"
            " without spaces; `openssl rand -hex 32` makes one"
        )
    return found


def _tls(cert: Path | None, key: Path | None, client_ca: Path | None) -> "Tls | None":
    from mcloud.observing.scrape import Tls

    if cert is not None and key is not None:
        return Tls(cert, key, client_ca)
    if cert is None and key is None and client_ca is None:
        return None
    missing = "--tls-key" if key is None else "--tls-cert"
    raise UsageError(f"TLS needs --tls-cert and --tls-key; {missing} is missing")


def _access(listen: "Listen") -> str:
    """Return a phrase about who can read the metrics."""
    if listen.tls and listen.tls.client_ca:
        return ", for clients with a certificate" + (" and the token" if listen.token else "")
    if listen.token:
        said = ", for clients with the token"
        return said if listen.tls or listen.is_loopback else f"{said}, without encryption"
    return "" if listen.is_loopback else ", for everyone who can reach it"
