"""An event, and channels that record the events they receive."""

from collections.abc import Callable
from dataclasses import replace

from mcloud.notify.channels import Channel
from mcloud.notify.event import Event
from mcloud.notify.origin import Origin

FIRING = Event(
    key="dead-letters aws",
    title="dead letters on aws: 3",
    text="Look at them with `mcloud dlq list aws`.",
    severity="critical",
    state="firing",
    at=1_700_000_000.25,
    fields={"ready": "3", "above": "0"},
)
ORIGIN = Origin("prod", {"aws": "mcloud", "gcp": "mcloud", "west": "mcloud-west"})
RESOLVED = replace(FIRING, state="resolved", at=FIRING.at + 60)
HAPPENED = replace(FIRING, key="failover gcp", state="happened", severity="info")


class Sink:
    """Records events; ``answer`` may raise."""

    def __init__(self, answer: Callable[[Event], str] = lambda event: "taken") -> None:
        self.taken: list[Event] = []
        self.asked = 0
        self._answer = answer

    def __call__(self, event: Event) -> str:
        self.asked += 1
        said = self._answer(event)
        self.taken.append(event)
        return said

    def channel(
        self, name: str = "desk", severity: str = "info", repeat: float = 3600
    ) -> dict[str, Channel]:
        return {name: Channel(name, "webhook", severity, repeat, self)}
