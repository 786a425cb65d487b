"""``mcloud export``"""

from typing import Annotated

import typer

from mcloud.cli.extras import require_bulk
from mcloud.cli.options import END, START, window_of
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(export)


def export(
    session: Session,
    symbols: Annotated[str, typer.Argument(help="Comma-separated symbols, such as BTCUSDT.")],
    out: Annotated[
        str,
        typer.Option(metavar="PLACE", help="Folder, or s3:// or gs:// URL, of the files."),
    ],
    what: Annotated[str, typer.Option(metavar="KIND", help="candles or trades.")] = "candles",
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="parquet or csv.")
    ] = "parquet",
    interval: Annotated[
        str, typer.Option(metavar="INTERVAL", help="Width of a candle: 1m, 5m, 15m, 1h or 1d.")
    ] = "1m",
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="SITE", help="Site to read from. Default: the first site."),
    ] = None,
    start: START = None,
    end: END = None,
) -> None:
    """Write candles or trades as Parquet or CSV files.

    Candles are written as one file a month, and trades as one file a day, in folders such as
    candles/symbol=BTCUSDT/interval=1m/month=2024-08, which DuckDB, Polars, Athena and BigQuery
    read as partitions. Prices and volumes are decimals. A time range is extended to whole months
    or days, and a file that exists is replaced. If something in the archive is damaged, it is left
    out and named, and the command exits with 3.

    It needs the extra `bulk`.

    Examples:
    mcloud export BTCUSDT --out candles --interval 1h
    mcloud export BTCUSDT --what trades --start 2024-08-01 --out s3://my-bucket
    """
    require_bulk()
    from mcloud.cli.progress import waiting
    from mcloud.config import chosen
    from mcloud.export import partitions
    from mcloud.export.destinations import FORMATS, Destination
    from mcloud.feed.feed import parse_symbols
    from mcloud.feed.open import parse_names
    from mcloud.market.interval import INTERVALS

    kind = chosen("kind", what, ("candles", "trades"))
    width = chosen("interval", interval, list(INTERVALS))
    names = parse_symbols(parse_names(symbols))
    destination = Destination(out, chosen("format", file_format, FORMATS))
    window = window_of(start, end)
    source = next(iter(session.sites(site).values()))
    problems: list[str] = []
    empty: list[str] = []
    written = rows = 0
    with waiting(session, f"reading {source.name}") as tell:
        for name in names:
            if kind == "candles":
                found = partitions.candles(source, name, width, window, problems.append)
            else:
                found = partitions.trades(source, name, window, problems.append)
            before = written
            for partition in found:
                destination.write(partition)
                written, rows = written + 1, rows + partition.table.num_rows
                tell(f"{partition.folder}: {rows:,} rows")
            if written == before:
                empty.append(name)
    if session.output == "json":
        session.print_json({"files": written, "rows": rows, "problems": problems})
    else:
        files = f"{written:,} file{'s' * (written != 1)}"
        session.print(f"{rows:,} {kind} in {files} in {destination.name}/{kind}")
    for name in empty:
        session.say(f"no {kind} of {name} at {source.name} in that time range")
    for problem in problems:
        session.warn(problem)
    if problems:
        raise typer.Exit(3)
