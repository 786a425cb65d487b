"""Events in the format of each kind of channel."""

from datetime import UTC, datetime
from typing import Any

from mcloud.notify.event import HAPPENED, RESOLVED, Event
from mcloud.notify.origin import Origin

SOURCE = "mcloud"
SUMMARY = 1024  # maximum length of a summary in PagerDuty
SUBJECT = 100  # maximum length of a subject in SNS, of ASCII characters only

_COLORS = {"info": "#439fe0", "warning": "#daa038", "critical": "#a30200"}
_GREEN = "#2eb886"


def headline(event: Event) -> str:
    """Return a line such as ``[firing] critical: dead letters on aws``."""
    severity = "" if event.state == RESOLVED else f" {event.severity}:"
    return f"[{event.state}]{severity} {event.title}"


def plain(event: Event, origin: Origin) -> str:
    """Return the text of an email."""
    lines = [event.title, *([event.text] if event.text else []), ""]
    lines += [f"{name}: {value}" for name, value in event.fields.items()]
    lines += [f"{event.severity}, {event.state} at {_time(event)}", f"key: {event.key}"]
    lines += [f"profile: {origin.profile}", f"stack: {origin.stack(event)}"]
    return "\n".join(lines)


def subject(event: Event) -> str:
    """Return the headline in the format of SNS: one line of ASCII that begins with a letter."""
    text = " ".join(f"{SOURCE} {headline(event)}".split())
    ascii_only = text.encode("ascii", "replace").decode()
    return "".join(each if each.isprintable() else "?" for each in ascii_only)[:SUBJECT]


def document(event: Event, origin: Origin) -> dict[str, Any]:
    """Return the document for a program."""
    return {
        "source": SOURCE,
        "incident": origin.incident(event),
        "profile": origin.profile,
        "stack": origin.stack(event),
        "key": event.key,
        "title": event.title,
        "text": event.text,
        "severity": event.severity,
        "state": event.state,
        "at": _time(event),
        "fields": dict(event.fields),
    }


def attributes(event: Event, origin: Origin) -> dict[str, str]:
    """Return the attributes that a subscription may filter by."""
    return {
        "severity": event.severity,
        "state": event.state,
        "key": event.key,
        "profile": origin.profile,
        "stack": origin.stack(event),
        "incident": origin.incident(event),
    }


def slack(event: Event, origin: Origin) -> dict[str, Any]:
    """Return the body for a webhook of Slack, Mattermost, Rocket.Chat, or Discord's ``/slack``.

    ``text`` alone has all that matters. All of these services draw ``attachments`` as a table.
    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """
    said = f"*{_escaped(headline(event))}*"
    if event.text:
        said += f"\n{_escaped(event.text)}"
    attachment = {
        "color": _GREEN if event.state == RESOLVED else _COLORS[event.severity],
        "fallback": _escaped(headline(event)),
        "fields": [
            {"title": _escaped(name), "value": _escaped(value), "short": len(value) < 40}
            for name, value in event.fields.items()
        ],
        "footer": _escaped(origin.incident(event)),
        "ts": int(event.at),
    }
    return {"text": said, "attachments": [attachment]}


def pagerduty(event: Event, origin: Origin, routing_key: str) -> dict[str, Any]:
    """Return an alert of the Events API v2. A firing event triggers it, and its resolution resolves
    it.

    A ``happened`` event is never resolved: somebody has to close its alert.
    https://developer.pagerduty.com/docs/send-alert-event
    """
    return {
        "routing_key": routing_key,
        "event_action": "resolve" if event.state == RESOLVED else "trigger",
        "dedup_key": origin.incident(event),
        "client": SOURCE,
        "payload": {
            "summary": event.title[:SUMMARY],
            "source": SOURCE,
            "severity": event.severity,
            "timestamp": _time(event),
            "custom_details": _details(event, origin),
        },
    }


def pagerduty_change(event: Event, origin: Origin, routing_key: str) -> dict[str, Any]:
    """Return a change event: it appears beside the alerts, and notifies nobody.

    https://developer.pagerduty.com/docs/send-change-event
    """
    return {
        "routing_key": routing_key,
        "payload": {
            "summary": event.title[:SUMMARY],
            "source": SOURCE,
            "timestamp": _time(event),
            "custom_details": _details(event, origin),
        },
    }


def is_change(event: Event) -> bool:
    """Return whether an event has happened at one moment and needs no attention."""
    return event.state == HAPPENED and event.severity == "info"


def _details(event: Event, origin: Origin) -> dict[str, str]:
    return {
        **({"text": event.text} if event.text else {}),
        **event.fields,
        "key": event.key,
        "profile": origin.profile,
        "stack": origin.stack(event),
    }


def _time(event: Event) -> str:
    return datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")


def _escaped(text: str) -> str:
    """Escape characters that Slack would interpret as a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
