"""A view of a log line."""

from datetime import UTC, datetime

from rich.text import Text

from mcloud.log_search import LogEntry

SOURCE = 13  # columns, for a name such as `gcp processor`
STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "ALERT": "bold red"}


def line(entry: LogEntry) -> Text:
    """Return a log line with its time, UTC, its source and its level."""
    moment = datetime.fromtimestamp(entry.at, UTC)
    style = STYLES.get(entry.level, "")
    return Text.assemble(
        (f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z ", "dim"),
        (f"{entry.source:<{SOURCE}} ", "cyan"),
        (f"{entry.level:<7} ", style),
        (entry.text, style),
    )
