"""Whether something runs, as every list of what runs here says it."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from mcloud.dashboard.duration import duration
from mcloud.dashboard.machine import silence


def unspoken(runs: bool, state: Mapping[str, Any]) -> Text | None:
    """Why there is nothing to say of a run; None where there is something."""
    if "damaged" in state:
        return Text(f"{'running' if runs else 'ended'}, its state.json is damaged", "bold red")
    return None if state else Text("starting" if runs else "never ran")


def alive(runs: bool, state: Mapping[str, Any], now: float) -> Text:
    """``running``, or how long ago it said its last word, and whether that was meant to be it.

    On a full disk one that runs cannot say anything new.
    """
    if runs and (silent := silence(runs, state, now)):
        return Text(f"running, silent for {duration(silent)}", "yellow")
    if runs:
        return Text("running", "green")
    ago = duration(max(now - state["at"], 0.0))
    return (
        Text(f"ended {ago} ago", "dim") if state.get("ended") else Text(f"died {ago} ago", "yellow")
    )
