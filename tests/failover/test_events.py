"""What is told of sites that are down, through a channel that carries only what is critical."""

from mcloud.failover import events
from mcloud.failover.decide import DOWN, NOTHING, UP, Decision, SiteState, State
from mcloud.notify.channels import Channel
from mcloud.notify.event import FIRING, RESOLVED, Event
from mcloud.notify.notifier import Notifier


def test_who_is_called_for_an_outage_hears_that_it_is_over() -> None:
    """As `[channels.oncall]` in the README: an incident that nothing resolves stays open."""
    told: list[Event] = []

    def deliver(event: Event) -> str:
        told.append(event)
        return "ok"

    notifier = Notifier({"oncall": Channel("oncall", "pagerduty", "critical", 3600.0, deliver)})
    before = State()
    for at, verdict in enumerate((UP, DOWN, UP)):
        after = State({"aws": SiteState(verdict)})
        for event in events.changes(before, Decision(NOTHING, "", "", (), after), (), float(at)):
            notifier.send(event)
        before = after
    notifier.close(30)
    assert [(event.title, event.state) for event in told] == [
        ("aws is down", FIRING),
        ("aws is up", RESOLVED),
    ]
    assert notifier.failures() == []
