"""The effect of a key on the view of the monitor."""

from dataclasses import replace

from mcloud.drawing.monitor import MonitorView, pages

INTERVALS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)  # seconds
QUIT = ("q", "Q")
ENTER, BACKSPACE = ("\r", "\n"), ("\x7f", "\b")


def pressed(key: str, view: MonitorView, sites: int) -> MonitorView:
    """Return the view after a key. An unknown key changes nothing.

    Args:
        sites: number of sites.
    """
    if view.typing is not None:
        return _typed(key, view, view.typing)
    if key == "/":
        return replace(view, typing="", help=False)
    if key == "p":
        return replace(view, paused=not view.paused)
    if key in ("+", "="):  # more often; = is + without shift
        return replace(view, interval=_next(view.interval, INTERVALS[::-1], quicker=True))
    if key == "-":
        return replace(view, interval=_next(view.interval, INTERVALS, quicker=False))
    if key == "?":
        return replace(view, help=not view.help)
    if key in ("escape", "0"):
        return replace(view, help=False, focus=None, filter="")
    if key.isdecimal() and int(key) <= sites:
        focus = int(key) - 1
        return replace(view, help=False, focus=None if view.focus == focus else focus)
    if key in ("left", "right"):
        step = 1 if key == "right" else -1
        if view.focus is not None:
            return replace(view, focus=(view.focus + step) % max(1, sites))
        return replace(view, page=(view.page + step) % pages(sites, view.width))
    return view


def _typed(key: str, view: MonitorView, text: str) -> MonitorView:
    """Return the view after a key of the filter."""
    if key in ENTER:
        return replace(view, typing=None, filter=text)
    if key == "escape":
        return replace(view, typing=None)
    if key in BACKSPACE:
        return replace(view, typing=text[:-1])
    return replace(view, typing=text + key) if len(key) == 1 and key.isprintable() else view


def _next(interval: float, steps: tuple[float, ...], *, quicker: bool) -> float:
    return next(
        (step for step in steps if (step < interval if quicker else step > interval)), interval
    )
