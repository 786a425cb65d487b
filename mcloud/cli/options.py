"""Options that several commands share: their declarations, and how their values are read."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.replication.hour_digest import HourWindow

SCOPE, PROCESS, SIMULATION = "Scope", "Process", "Simulations"
"""Titles of groups of options."""

SYMBOLS = Annotated[
    str | None,
    typer.Option(
        metavar="SYMBOLS",
        help="Comma-separated symbols. Default: all symbols.",
        rich_help_panel=SCOPE,
    ),
]
START = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="First hour, UTC, such as 2024-08-08T23:00. Default: no limit.",
        rich_help_panel=SCOPE,
    ),
]
END = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="End, UTC, exclusive. Default: no limit.", rich_help_panel=SCOPE
    ),
]
KINDS = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="Comma-separated kinds of data: candles and raw.",
        rich_help_panel=SCOPE,
    ),
]
DETACH = Annotated[
    bool,
    typer.Option("--detach", help="Run in the background.", rich_help_panel=PROCESS),
]
COUNT = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="COUNT",
        help="Number of trades. Default: no limit.",
        rich_help_panel=SIMULATION,
    ),
]
RATE = Annotated[
    float,
    typer.Option(
        metavar="RATE",
        help="Average number of trades per second and symbol.",
        rich_help_panel=SIMULATION,
    ),
]
SEED = Annotated[
    int,
    typer.Option(
        metavar="SEED",
        help="Seed. The same seed repeats the same trades.",
        rich_help_panel=SIMULATION,
    ),
]
DRY_RUN = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")
]
WAIT = Annotated[
    bool,
    typer.Option("--wait", help="Wait for slow sites instead of leaving them out."),
]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def length_of_time(option: str, text: str) -> float:
    """Return a duration, such as 30s, 5m, 2h or 7d, in seconds.

    Raises:
        UsageError: the text of the option is not a duration above 0.
    """
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])", text)
    found = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if found <= 0:
        raise UsageError(
            f"invalid duration {text!r} for {option}; use one such as 30s, 90m, 2h or 7d"
        )
    return found


def moment(option: str, text: str) -> int:
    """Return an ISO date or time in ms. Without a zone it is UTC.

    Raises:
        UsageError: the text of the option is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"invalid time {text!r} for {option}; use one such as 2024-08-08 or 2024-08-08T23:54"
        ) from None
    return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)


def window_of(start: str | None, end: str | None) -> "HourWindow":
    """Return the hours of the options ``--start`` and ``--end``.

    Raises:
        UsageError: one is invalid, or the end is not after the start.
    """
    from mcloud.replication.hour_digest import HourWindow

    begin = moment("--start", start) if start else None
    until = moment("--end", end) if end else None
    window = HourWindow.around(begin, until)
    if window.end <= window.start:
        raise UsageError("--end must be after --start")
    return window


def symbol_of(text: str) -> str:
    """Return a symbol in its written form.

    Raises:
        UsageError: it is invalid.
    """
    from mcloud.market.trade import BadTrade, capitals, check_symbol

    try:
        return check_symbol(capitals(text))
    except BadTrade as error:
        raise UsageError(f"{error}; use one such as BTCUSDT") from None
