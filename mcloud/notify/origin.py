"""The deployment that an event comes from, so that incidents of two deployments stay apart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from mcloud.config import Config
from mcloud.notify.event import HAPPENED, Event

LONGEST = 255  # maximum length of a deduplication key in PagerDuty


@dataclass(frozen=True)
class Origin:
    profile: str
    stacks: Mapping[str, str] = field(default_factory=dict)
    """Name of the stack of each site."""

    def stack(self, event: Event) -> str:
        """Return the stacks of the sites that the event's key names, or of all sites if it names
        none.

        The key begins with a rule's name, and the names of sites follow: ``dead-letters aws``.
        """
        words = re.split("[ .]", event.key)[1:]
        named = [self.stacks[word] for word in words if word in self.stacks]
        # SNS rejects an empty attribute, and the embedded clouds have no name.
        return "+".join(dict.fromkeys(named or sorted(self.stacks.values()))) or "embedded"

    def incident(self, event: Event) -> str:
        """Return the id of the incident: profile, stack, and the event's key with its site.

        A ``happened`` event is never resolved, so each of them is a separate incident.
        """
        key = event.key if event.state != HAPPENED else f"{event.key} {event.at:.3f}"
        if event.is_of_folder:
            # different from the event of another folder
            key = f"{event.fields.get('folder', '')} {key}"
        whole = f"mcloud {self.profile}/{self.stack(event)} {key}"
        if len(whole) <= LONGEST:
            return whole
        # Two long keys may differ only at their ends.
        digest = sha256(whole.encode(errors="replace")).hexdigest()[:16]
        return f"{whole[: LONGEST - len(digest) - 1]} {digest}"


def origin(config: Config) -> Origin:
    """Return the origin of events that are sent with this configuration."""
    return Origin(config.profile, {name: site.stack for name, site in config.sites.items()})
