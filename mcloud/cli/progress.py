"""A line that tells what goes on, on a terminal; nothing in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mcloud.cli.session import Session


@contextmanager
def waiting(session: Session, title: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner while the block runs; the function given adds a few words to it."""
    if not session.live:
        yield lambda words: None
        return
    from rich.text import Text

    # Text, because in a plain string rich takes what stands in brackets for markup.
    with session.words.status(Text(title)) as status:
        yield lambda words: status.update(Text(f"{title}: {words}" if words else title))
