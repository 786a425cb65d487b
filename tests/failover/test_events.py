"""Events about sites that are down, through a channel that only carries critical events."""

from dataclasses import replace

from mcloud.clouds.observation import DOWN, UP
from mcloud.clouds.ports import ControlRecord
from mcloud.failover import events
from mcloud.failover.catch_up import CatchUpReport
from mcloud.failover.decide import NOTHING, Debt, Decision, DecisionState, SiteState
from mcloud.failover.execution import MoveOutcome
from mcloud.failover.journal import MoveOrder
from mcloud.notify.channels import Channel
from mcloud.notify.event import FIRING, RESOLVED, Event
from mcloud.notify.ledger import EventLedger
from mcloud.notify.notifier import Notifier

from .sites import LiveSite


def test_a_channel_that_was_sent_an_outage_is_sent_its_end() -> None:
    """An incident that nothing resolves stays open: see `[channels.oncall]` in the guide."""
    told: list[Event] = []

    def deliver(event: Event) -> str:
        told.append(event)
        return "ok"

    notifier = Notifier({"oncall": Channel("oncall", "pagerduty", "critical", 3600.0, deliver)})
    before = DecisionState()
    for at, verdict in enumerate((UP, DOWN, UP)):
        after = DecisionState({"aws": SiteState(verdict)})
        for event in events.changes(before, Decision(NOTHING, "", "", (), after), (), float(at)):
            notifier.send(event)
        before = after
    notifier.close(30)
    assert [(event.title, event.state) for event in told] == [
        ("aws is down", FIRING),
        ("aws is up", RESOLVED),
    ]
    assert notifier.failures() == []


def test_events_of_two_guards_about_one_move_have_one_key() -> None:
    """Both guards have decided to move and have caught up, and both report it."""
    order = MoveOrder("id", "gcp", "automatic", "aws is down", "guard a", 10.0, 0, "aws", lost=1.0)
    record = ControlRecord(1, "gcp", "automatic", "aws is down", "guard a", 10.0)
    first = MoveOutcome(order, record, "aws", True, {}, 1.0, {}, {}, ())
    another = replace(order, id="other", by="guard b", at=11.0)
    second = replace(first, order=another, before="gcp")
    debt = Debt("aws", 1, 5.0, may_return=True)
    came = CatchUpReport("aws", True, "", 3, 0, 0)
    sites = {name: LiveSite(name) for name in ("aws", "gcp")}
    told: list[Event] = []

    def deliver(event: Event) -> str:
        told.append(event)
        return "ok"

    for by, outcome, at in (("a", first, 20.0), ("b", second, 25.0)):
        channel = {"desk": Channel("desk", "webhook", "info", 3600.0, deliver)}
        notifier = Notifier(channel, ledger=EventLedger(sites, by, by))  # type: ignore[arg-type]
        notifier.send(events.moved(outcome, ""))
        notifier.send(events.caught_up(came, debt, at))
        notifier.close(30)
    assert [event.title for event in told] == [
        "gcp is now the primary, in place of aws",
        "aws has caught up",
    ]
    assert events.moved(second, "").title == "gcp is now the primary, in place of aws"
    # A later debt has another key.
    later = events.caught_up(came, replace(debt, since=100.0), 120.0)
    assert later.key != events.caught_up(came, debt, 20.0).key
