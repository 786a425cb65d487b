"""The exact lines of the log."""

from logging import ERROR, INFO, WARNING

from mcloud.producer.breaker import HALF_OPEN, OPEN
from mcloud.producer.cursor import Hole
from mcloud.producer.log_lines import changes
from mcloud.producer.route import Route
from mcloud.producer.sender import SiteDelivery

from .sources import hole, progress


def lines(before: tuple[Hole, ...], now: tuple[Hole, ...]) -> list[tuple[int, str]]:
    return changes(progress(holes=before), progress(holes=now))


def test_the_first_lines_have_the_route_and_the_holes() -> None:
    begun = progress(holes=(hole(5, 7),), sites={"aws": SiteDelivery()})
    assert changes(None, begun) == [
        (INFO, "sends to aws: the only site"),
        (WARNING, "hole: BTCUSDT 5 to 7, 3 trades, since 2024-08-08T23:54:15Z"),
    ]


def test_without_changes_nothing_is_logged() -> None:
    same = progress(holes=(hole(5, 7, reason="no answer", attempts=3),), problem="no room")
    assert changes(same, same) == []


def test_a_route_is_logged_with_its_reason() -> None:
    moved = progress(route=Route(("gcp",), "primary of epoch 4: drill"))
    assert changes(progress(), moved) == [(INFO, "sends to gcp: primary of epoch 4: drill")]
    both = progress(route=Route(("aws", "gcp"), "every site"))
    assert changes(moved, both) == [(INFO, "sends to aws, gcp: every site")]


def test_a_failing_site_is_logged_once_and_at_its_return() -> None:
    sound = progress(sites={"aws": SiteDelivery(), "gcp": SiteDelivery()})
    failing = progress(sites={"aws": SiteDelivery(error="SQS is down"), "gcp": SiteDelivery()})
    away = progress(
        sites={"aws": SiteDelivery(breaker=OPEN, error="SQS is down"), "gcp": SiteDelivery()}
    )
    tried = progress(
        sites={"aws": SiteDelivery(breaker=HALF_OPEN, error="gone"), "gcp": SiteDelivery()}
    )
    assert changes(sound, failing) == [(WARNING, "aws: SQS is down")]
    assert changes(failing, away) == [(WARNING, "aws: breaker closed → open")]
    assert changes(away, tried) == [
        (WARNING, "aws: breaker open → half-open"),
        (WARNING, "aws: gone"),
    ]
    assert changes(tried, sound) == [(INFO, "aws: breaker half-open → closed")]
    refused = progress(
        sites={"aws": SiteDelivery(error="no access", refused=True), "gcp": SiteDelivery()}
    )
    assert changes(sound, refused) == [(ERROR, "aws: no access")]


def test_a_hole_is_logged_once_and_when_it_is_filled() -> None:
    opened = (hole(5, 2_000),)
    assert lines((), opened) == [
        (WARNING, "hole: BTCUSDT 5 to 2000, 1996 trades, since 2024-08-08T23:54:15Z")
    ]
    assert lines(opened, (hole(1_005, 2_000),)) == []
    assert lines((hole(1_005, 2_000),), ()) == [(INFO, "hole filled: BTCUSDT up to 2000")]


def test_each_failed_attempt_has_its_reason() -> None:
    once = hole(5, 7, attempts=1, reason="no answer")
    assert lines((hole(5, 7),), (once,)) == [(WARNING, "hole BTCUSDT 5 to 7: no answer")]
    assert lines((once,), (hole(6, 7, attempts=1, reason="no answer"),)) == []
    twice = hole(6, 7, attempts=2, reason="no answer")
    assert lines((once,), (twice,)) == [(WARNING, "hole BTCUSDT 6 to 7: no answer")]


def test_the_rest_of_a_hole_is_not_reported_as_filled() -> None:
    # The hole is split, shortened at its end, and joined with the hole after it.
    assert lines((hole(5, 20),), (hole(5, 9), hole(15, 20))) == []
    assert lines((hole(5, 20),), (hole(5, 19),)) == []
    assert lines((hole(5, 20),), (hole(5, 40),)) == [
        (WARNING, "hole: BTCUSDT 5 to 40, 36 trades, since 2024-08-08T23:54:15Z")
    ]
    other = hole(5, 20, "ETHUSDT")
    assert lines((hole(5, 20),), (other,)) == [
        (WARNING, "hole: ETHUSDT 5 to 20, 16 trades, since 2024-08-08T23:54:15Z"),
        (INFO, "hole filled: BTCUSDT up to 20"),
    ]


def test_a_full_spool_and_a_disk_without_room() -> None:
    full = progress(spool_full=True)
    assert changes(progress(), full) == [(WARNING, "the spool is full: reading stops")]
    assert changes(full, progress()) == [(WARNING, "the spool has room again")]
    stuck = progress(problem="no room for the spool")
    assert changes(progress(), stuck) == [(ERROR, "no room for the spool")]
    assert changes(stuck, progress()) == [(INFO, "trades can be stored again")]
