"""Whether something runs, as every list of what runs here says it."""

from rich.text import Text

from mcloud.dashboard.duration import duration
from mcloud.dashboard.machine import FRESH


def alive(runs: bool, silent: float) -> Text:
    """``running``, or how long ago it ended: ``silent`` is the seconds since its last word.

    On a full disk one that runs cannot say anything new.
    """
    if runs and silent > FRESH:
        return Text(f"running, silent for {duration(silent)}", "yellow")
    if runs:
        return Text("running", "green")
    return Text(f"ended {duration(max(silent, 0.0))} ago", "dim")
