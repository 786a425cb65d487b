"""Progress on a terminal: a line, or a panel. In a pipe, nothing is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mcloud.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType


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


@contextmanager
def panel(session: Session) -> "Iterator[Callable[[RenderableType], None] | None]":
    """Yield a function that draws a panel in place of the last one, or None without a terminal."""
    if not session.live:
        yield None
        return
    from rich.live import Live

    with Live(console=session.words, auto_refresh=False, transient=True) as live:
        yield lambda drawn: live.update(drawn, refresh=True)


@contextmanager
def animated(session: Session, draw: "Callable[[], RenderableType]") -> Iterator[None]:
    """Draw a screen several times a second while the block runs. Its last state stays."""
    if not session.live:
        yield
        return
    from rich.live import Live

    with Live(console=session.words, get_renderable=draw, refresh_per_second=8):
        yield
