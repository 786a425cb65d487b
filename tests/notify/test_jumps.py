"""A clock that is set back does not delay the retry of a failed notification."""

import pytest
from jumps import KINDS, Jumping
from patience import PATIENCE, eventually

from mcloud.errors import Refused
from mcloud.notify.event import Event
from mcloud.notify.memory import SentMemory
from mcloud.notify.notifier import FIRST_RESEND, Notifier

from .events import FIRING, RESOLVED, Sink


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_notification_is_retried_after_its_pause(kind: str) -> None:
    refuses = [True]

    def answer(event: Event) -> str:
        if refuses[0]:
            raise Refused("HTTP 404")
        return "taken"

    sink, clock = Sink(answer), Jumping()
    notifier = Notifier(sink.channel(), clock=clock.wall, timer=clock.timer)
    notifier.send(FIRING)
    eventually(lambda: notifier.failures())
    refuses[0] = False
    clock.jump(kind)
    clock.pass_(FIRST_RESEND)
    notifier.send(FIRING)
    eventually(lambda: sink.taken == [FIRING])
    notifier.close(PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_firing_alert_is_sent_again_after_its_interval(kind: str) -> None:
    memory, clock, repeat = SentMemory(), Jumping(), 3600.0
    memory.note("desk", FIRING, clock.wall())
    clock.jump(kind)
    clock.pass_(repeat)
    assert memory.is_news("desk", FIRING, repeat, clock.wall())
    memory.note("desk", FIRING, clock.wall())
    assert not memory.is_news("desk", FIRING, repeat, clock.wall())
    assert memory.is_news("desk", RESOLVED, repeat, clock.wall())
