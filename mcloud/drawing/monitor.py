"""The live screen: a pure function from a snapshot and the view to lines.

A column per site stands under a band for all of them, above the processes on this machine and the
problems. Every line has a fixed place, so that nothing jumps when a figure changes. If a terminal
is too low for everything, the least important rows are left out.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text

from mcloud.drawing.band import leading, money, watching
from mcloud.drawing.columns import columns, fitting, heading
from mcloud.drawing.focus import details
from mcloud.drawing.lines import fit, sides
from mcloud.drawing.machine import here
from mcloud.observing.machine import Machine
from mcloud.observing.problems import causes
from mcloud.observing.snapshot import SiteSnapshot, Snapshot

HERE_LEAST, HERE_MOST = 2, 8  # lines about the processes here, including the one above
WIDE = 110  # columns with room for all keys
EVENTS_LEAST = 4  # lines of the event log, with the one above
TROUBLES = 4  # lines of problems on a high terminal

KEYS = (
    ("q", "quit"),
    ("p", "pause or resume"),
    ("+ -", "shorten or lengthen the interval (not that of metrics services)"),
    ("1 … 9", "show one site with all its figures; again, or Esc: all sites"),
    ("← →", "show other sites, if not all fit"),
    ("/", "filter symbols, processes, events and problems; Esc: show all"),
    ("l", "logs of everything, or of the site that is shown alone"),
    ("a", "alerts, with what helps"),
    ("t", "trace a trade; asks for its id"),
    ("f", "failover to the site shown alone, or to one you name; it asks first"),
    ("?", "this page"),
)


@dataclass(frozen=True)
class MonitorView:
    """The choices made with the keys, and the size of the terminal."""

    width: int
    height: int
    interval: float
    """Interval in seconds."""
    profile: str = ""
    paused: bool = False
    focus: int | None = None
    """Index of the site that is shown alone, counted from 0."""
    page: int = 0
    help: bool = False
    filter: str = ""
    """Text that the lines about symbols, processes, events and problems contain."""
    typing: str | None = None
    """The filter that is being typed, or None."""

    def keeps(self, text: str) -> bool:
        """Whether the filter keeps a line."""
        wanted = self.filter if self.typing is None else self.typing
        return wanted.lower() in text.lower()


def screen(snapshot: Snapshot, view: MonitorView) -> list[Text]:
    """Return exactly ``view.height`` lines, none wider than ``view.width``."""
    head = _head(snapshot, view)
    foot = [*_trouble(snapshot, view), _foot(snapshot, view)]
    room = max(0, view.height - len(head) - len(foot))
    if view.help:
        body = _help()
    elif (site := focused(snapshot, view)) is not None:
        body = details(site, snapshot.at, room, view.keeps)
    else:
        body = _overview(snapshot, view, room)
    if len(body) > room:
        left_out = len(body) - room + 1
        body = [*body[: max(0, room - 1)], Text(f"… {left_out} more lines", "dim")][:room]
    body += [Text()] * (room - len(body))
    return [fit(line, view.width) for line in [*head, *body, *foot][: view.height]]


def focused(snapshot: Snapshot, view: MonitorView) -> SiteSnapshot | None:
    """Return the site that is shown alone, or None if all are shown."""
    sites = list(snapshot.sites.values())
    return sites[view.focus] if view.focus is not None and view.focus < len(sites) else None


def pages(count: int, width: int) -> int:
    """Return the number of pages for ``count`` sites."""
    return max(1, -(-count // fitting(width)))


def _head(snapshot: Snapshot, view: MonitorView) -> list[Text]:
    now = datetime.fromtimestamp(snapshot.at, UTC)
    how = Text("PAUSED", "bold yellow") if view.paused else Text(f"every {view.interval:g} s")
    left = Text.assemble(("mcloud", "bold"), f"  {view.profile}")
    right = Text.assemble(how, f"   {now:%H:%M:%S} UTC")
    top = sides(left, right, view.width)
    if view.height < 12:
        return [top]
    lead = leading(snapshot)
    cost = money(snapshot, view.width - lead.cell_len - 3)
    lines = [top, sides(lead, cost, view.width), watching(snapshot)]
    return [*lines, Text()] if view.height >= 24 else lines


def _trouble(snapshot: Snapshot, view: MonitorView) -> list[Text]:
    """Return the problems in a constant number of lines, so that the rest keeps its place."""
    room = 1 if view.height < 36 else TROUBLES
    found = list(map(str, causes(snapshot)))
    lines = [line for line in found if view.keeps(line)]
    if found and not lines:
        said = f"{len(found)} problem{'s' * (len(found) > 1)}, none of which matches the filter"
        return [Text()] * (room - 1) + [Text(said, "yellow")]
    if not lines:
        is_asking = any(site.up is None for site in snapshot.sites.values())
        said = "reading the sites" if is_asking else "no problems"
        return [Text()] * (room - 1) + [Text(said, "dim")]
    more = len(lines) - room
    shown = [Text(line, "yellow") for line in lines[:room]]
    if more > 0:
        shown[-1] = Text.assemble((f"{more} more  ", "bold yellow"), shown[-1])
    return [Text()] * (room - len(shown)) + shown


def _foot(snapshot: Snapshot, view: MonitorView) -> Text:
    if view.typing is not None:
        return Text.assemble(("/", "bold"), view.typing, ("▏", "bold"), ("  Enter keeps it", "dim"))
    keys = Text().append(f"/{view.filter}  ", "bold yellow") if view.filter else Text()
    named = (("q", "quit"), ("p", "pause"), ("+ -", "interval"), ("1-9", "focus"), ("?", "help"))
    more = (("/", "filter"), ("l", "logs"), ("a", "alerts"), ("t", "trace"), ("f", "failover"))
    for key, does in named if view.width < WIDE else (*named, *more):
        keys.append(f"{key} ", "bold").append(f"{does}  ", "dim")
    keys.rstrip()
    cost = (
        Text() if snapshot.upkeep is None else Text(f"looking ${snapshot.upkeep:.2f}/month", "dim")
    )
    return sides(keys, cost, view.width)


def _help() -> list[Text]:
    lines = [Text.assemble((f"  {key:8}", "bold"), does) for key, does in KEYS]
    said = (
        "A figure that is older than its interval shows its age on the right.",
        "Metrics are minutes old: those of CloudWatch two, of Cloud Monitoring",
        "two to five. An unknown figure is shown as unknown, never as 0.",
        "Reading costs money: the last line shows the cost at list prices, for",
        "thirty days at the current interval.",
    )
    return [*lines, Text(), *(Text(f"  {line}", "dim") for line in said)]


def _overview(snapshot: Snapshot, view: MonitorView, room: int) -> list[Text]:
    count = len(snapshot.sites)
    begin = view.page % pages(count, view.width) * fitting(view.width)
    shown = list(snapshot.sites.values())[begin : begin + fitting(view.width)]
    if not shown:
        return [Text("no sites", "dim")]
    body = [heading(shown, begin, count, view.width)]
    body += columns(shown, snapshot.at, view.width, room - len(body) - HERE_LEAST)
    left = room - len(body)
    machine = snapshot.machine.value or Machine()
    below = here(machine, snapshot.at, min(HERE_MOST, max(1, left - 1)), view.keeps)
    body += [*([Text()] if left > len(below) else []), *below]
    return [*body, *_events(snapshot, room - len(body), view)]


def _events(snapshot: Snapshot, room: int, view: MonitorView) -> list[Text]:
    """Return the newest events, the newest first, if there is room for some."""
    if room < EVENTS_LEAST:
        return []
    lines = [Text(), Text("events", "bold")]
    kept = [event for event in snapshot.events if view.keeps(event.text)]
    for event in kept[::-1][: room - len(lines)]:
        moment = datetime.fromtimestamp(event.at, UTC)
        word, style = {
            "began": ("", "yellow"),
            "ended": ("over: ", "green"),
            "moved": ("", "bold"),
        }[event.kind]
        lines.append(Text.assemble((f"{moment:%H:%M:%S}  ", "dim"), (f"{word}{event.text}", style)))
    if not kept:
        said = "none since the start of the monitor"
        lines.append(Text("none matches the filter" if snapshot.events else said, "dim"))
    return lines
