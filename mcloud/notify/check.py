"""A test of channels with a real event, which fires and is immediately resolved."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from mcloud.deadline import gather
from mcloud.errors import reason_of
from mcloud.notify.channels import Channel, ChannelKind
from mcloud.notify.event import FIRING, RESOLVED, Event
from mcloud.notify.notifier import ATTEMPT


@dataclass(frozen=True)
class ChannelAnswer:
    """The answer of one channel to the test event."""

    name: str
    type: ChannelKind
    ok: bool
    seconds: float | None
    """Duration of the first request. None if it failed."""
    answer: str
    """The answer, or the reason for the failure."""


def check(channels: Mapping[str, Channel], now: float) -> list[ChannelAnswer]:
    """Send a test event through all channels at once. Return their answers, in the same order."""
    calls = {name: partial(_send, channel, now) for name, channel in channels.items()}
    answers = gather(calls, 2 * ATTEMPT)
    return [_answer(channels[name], answer) for name, answer in answers.items()]


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


def _answer(channel: Channel, answer: tuple[float, str] | Exception) -> ChannelAnswer:
    if isinstance(answer, Exception):
        why = reason_of(answer)
        return ChannelAnswer(channel.name, channel.kind, False, None, why)
    return ChannelAnswer(channel.name, channel.kind, True, round(answer[0], 3), answer[1])
