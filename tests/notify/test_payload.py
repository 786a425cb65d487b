"""Payloads in the published formats of the receivers."""

import json
from dataclasses import replace

import pytest

from mcloud.notify import payload
from mcloud.notify.origin import Origin

from .events import FIRING, HAPPENED, ORIGIN, RESOLVED


def test_slack_gets_text_and_an_attachment() -> None:
    assert payload.slack(FIRING, ORIGIN) == {
        "text": "*[firing] critical: dead letters on aws: 3*\n"
        "Look at them with `mcloud dlq list aws`.",
        "attachments": [
            {
                "color": "#a30200",
                "fallback": "[firing] critical: dead letters on aws: 3",
                "fields": [
                    {"title": "ready", "value": "3", "short": True},
                    {"title": "above", "value": "0", "short": True},
                ],
                "footer": "mcloud prod/mcloud dead-letters aws",
                "ts": 1_700_000_000,
            }
        ],
    }


def test_text_for_slack_is_escaped() -> None:
    event = replace(FIRING, title="<!channel> a & b", text="<http://x|y>", fields={"<a>": "<b>"})
    said = json.dumps(payload.slack(event, ORIGIN))
    assert "<" not in said
    assert ">" not in said
    assert payload.slack(event, ORIGIN)["text"] == (
        "*[firing] critical: &lt;!channel&gt; a &amp; b*\n&lt;http://x|y&gt;"
    )


def test_a_resolution_is_green_and_has_no_severity() -> None:
    said = payload.slack(RESOLVED, ORIGIN)
    assert said["text"].startswith("*[resolved] dead letters on aws")
    assert said["attachments"][0]["color"] == "#2eb886"


def test_pagerduty_triggers_and_resolves_under_one_key() -> None:
    trigger, resolve = (
        payload.pagerduty(FIRING, ORIGIN, "K"),
        payload.pagerduty(RESOLVED, ORIGIN, "K"),
    )
    assert trigger == {
        "routing_key": "K",
        "event_action": "trigger",
        "dedup_key": "mcloud prod/mcloud dead-letters aws",
        "client": "mcloud",
        "payload": {
            "summary": "dead letters on aws: 3",
            "source": "mcloud",
            "severity": "critical",
            "timestamp": "2023-11-14T22:13:20.250+00:00",
            "custom_details": {
                "text": "Look at them with `mcloud dlq list aws`.",
                "ready": "3",
                "above": "0",
                "key": "dead-letters aws",
                "profile": "prod",
                "stack": "mcloud",
            },
        },
    }
    assert resolve["event_action"] == "resolve"
    assert resolve["dedup_key"] == trigger["dedup_key"]


def test_the_limits_of_pagerduty_are_kept() -> None:
    event = replace(FIRING, key="k" * 400, title="t" * 2000)
    said = payload.pagerduty(event, ORIGIN, "K")
    assert len(said["dedup_key"]) == 255
    other = payload.pagerduty(replace(event, key="k" * 399 + "j"), ORIGIN, "K")
    assert other["dedup_key"] != said["dedup_key"]
    assert len(said["payload"]["summary"]) == 1024


def test_no_deployment_closes_the_incident_of_another() -> None:
    """This includes deployments that differ only in the profile, the stack or the site."""
    origins = [
        Origin(profile, {"aws": stack, "gcp": "mcloud"})
        for profile in ("prod", "staging", "prod/mcloud")
        for stack in ("mcloud", "mcloud-2")
    ]
    events = [replace(RESOLVED, key=f"dead-letters {site}") for site in ("aws", "gcp")]
    events.append(replace(RESOLVED, key="budget"))  # without a site: concerns all sites
    keys = [each.incident(event) for event in events[::2] for each in origins]
    assert len(set(keys)) == len(keys)
    assert len({origins[0].incident(event) for event in events}) == len(events)
    assert origins[0].incident(FIRING) == origins[0].incident(RESOLVED)


@pytest.mark.parametrize(
    ("key", "stack"),
    [
        ("site west", "mcloud-west"),
        ("unknown sites.west", "mcloud-west"),
        ("lag aws west", "mcloud+mcloud-west"),
        ("budget", "mcloud+mcloud-west"),
        ("west", "mcloud+mcloud-west"),  # a rule with that name
    ],
)
def test_the_origin_names_the_stack_of_the_affected_sites(key: str, stack: str) -> None:
    assert ORIGIN.stack(replace(FIRING, key=key)) == stack


def test_no_attribute_is_empty() -> None:
    """SNS refuses a message with an empty attribute."""
    for origin in (ORIGIN, Origin("local")):
        assert all(payload.attributes(FIRING, origin).values())


def test_two_events_without_an_end_are_two_incidents_or_changes() -> None:
    bad = replace(HAPPENED, severity="critical")
    assert not payload.is_change(bad)
    first, second = (payload.pagerduty(replace(bad, at=at), ORIGIN, "K") for at in (1.0, 2.0))
    assert first["event_action"] == second["event_action"] == "trigger"
    assert first["dedup_key"] != second["dedup_key"]
    assert payload.is_change(HAPPENED)
    change = payload.pagerduty_change(HAPPENED, ORIGIN, "K")
    assert set(change) == {"routing_key", "payload"}
    assert set(change["payload"]) == {"summary", "source", "timestamp", "custom_details"}


@pytest.mark.parametrize("title", ["naïve → €", "two\nlines\r\n", "\x00\x1b[31m", "x" * 500])
def test_a_subject_has_the_format_of_sns(title: str) -> None:
    subject = payload.subject(replace(FIRING, title=title))
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) <= 100
    assert subject[0].isalpha()


def test_a_mail_has_all_fields() -> None:
    assert payload.plain(FIRING, ORIGIN).splitlines() == [
        "dead letters on aws: 3",
        "Look at them with `mcloud dlq list aws`.",
        "",
        "ready: 3",
        "above: 0",
        "critical, firing at 2023-11-14T22:13:20.250+00:00",
        "key: dead-letters aws",
        "profile: prod",
        "stack: mcloud",
    ]


def test_the_document_for_programs_contains_every_field() -> None:
    said = payload.document(FIRING, ORIGIN)
    assert json.loads(json.dumps(said)) == said
    assert (said["key"], said["state"], said["at"]) == (
        "dead-letters aws",
        "firing",
        "2023-11-14T22:13:20.250+00:00",
    )
    assert payload.attributes(FIRING, ORIGIN) == {
        "severity": "critical",
        "state": "firing",
        "key": "dead-letters aws",
        "profile": "prod",
        "stack": "mcloud",
        "incident": "mcloud prod/mcloud dead-letters aws",
    }


def test_the_incident_of_one_folder_is_not_ended_by_another() -> None:
    local = replace(FIRING, key="spool-full default", is_of_folder=True)
    keys = {
        payload.pagerduty(replace(local, fields={"folder": folder}), ORIGIN, "key")["dedup_key"]
        for folder in ("host 1a2b", "host 3c4d")
    }
    assert len(keys) == 2
    shared = [
        payload.pagerduty(replace(FIRING, fields={"folder": folder}), ORIGIN, "key")["dedup_key"]
        for folder in ("host 1a2b", "host 3c4d")
    ]
    assert shared[0] == shared[1]
