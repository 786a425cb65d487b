"""A line that shows progress on a terminal, and nothing in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mcloud.cli.session import Session


@contextmanager
def waiting(session: Session, title: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner while the block runs. The returned function adds a few words to it."""
    if not session.live:
        yield lambda words: None
        return
    from rich.text import Text

    # Text, because rich interprets brackets in a plain string as markup.
    with session.words.status(Text(title)) as status:
        yield lambda words: status.update(Text(f"{title}: {words}" if words else title))
