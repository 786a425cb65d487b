"""The state of a process, in the same words in every list."""

from rich.text import Text

from mcloud.durations import duration
from mcloud.runs import Running, RunState, silence


def unspoken(run: Running[RunState]) -> Text:
    """Return why a run has no state to show."""
    if run.damaged:
        return Text(f"{'running' if run.runs else 'ended'}, its state.json is damaged", "bold red")
    return Text("starting" if run.runs else "never ran")


def alive(runs: bool, state: RunState, now: float) -> Text:
    """Return ``running``, or how long ago the last state was written, and whether the process ended
    or died.

    A process on a full disk cannot write a new state.
    """
    if runs and (silent := silence(runs, state, now)):
        return Text(f"running, silent for {duration(silent)}", "yellow")
    if runs:
        return Text("running", "green")
    ago = duration(max(now - state.at, 0.0))
    return Text(f"ended {ago} ago", "dim") if state.ended else Text(f"died {ago} ago", "yellow")
