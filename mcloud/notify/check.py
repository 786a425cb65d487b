"""A test of channels with a real event, which fires and is resolved at once."""

import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from mcloud.deadline import gather
from mcloud.notify.channels import Channel
from mcloud.notify.event import FIRING, RESOLVED, Event
from mcloud.notify.notifier import ATTEMPT


def check(channels: Mapping[str, Channel], now: float) -> list[dict[str, Any]]:
    """Send a test event through all channels at once. Return their answers, in the same order."""
    calls = {name: partial(_send, channel, now) for name, channel in channels.items()}
    answers = gather(calls, 2 * ATTEMPT)
    return [
        {"name": name, "type": channels[name].kind, **_told(answer)}
        for name, answer in answers.items()
    ]


def _send(channel: Channel, now: float) -> tuple[float, str]:
    """Send the test. Return the duration of the first request in seconds, and its answer."""
    host = socket.gethostname()
    event = Event(
        key=f"test {host}",
        title=f"a test of the channel {channel.name}",
        text=f"Sent by `mcloud alerts test` on {host}; no action is needed.",
        severity="info",
        state=FIRING,
        at=now,
    )
    begun = time.monotonic()
    answer = channel.deliver(event)
    # Resolve the event so that no incident stays open.
    channel.deliver(replace(event, state=RESOLVED))
    return time.monotonic() - begun, answer


def _told(answer: tuple[float, str] | Exception) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"ok": False, "seconds": None, "answer": str(answer) or type(answer).__name__}
    return {"ok": True, "seconds": round(answer[0], 3), "answer": answer[1]}
