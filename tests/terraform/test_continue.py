"""A deployment continues after faults that pass by themselves, within the confirmed plan."""

import signal

import pytest
from cli.conftest import Terminal
from infra.test_transient import DATABASE, EXPIRED, JOB

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from patience import PATIENCE

from .provider import Google
from .test_deploy_gcp import google, lock_file, only, planned, read_until, served, site

__all__ = ["google", "served", "site"]


def test_an_unfinished_job_and_an_expired_token(site: Terminal, google: Google) -> None:
    google.refused = {"google_cloud_scheduler_job": JOB, "google_pubsub_topic": EXPIRED}
    google.refusals = {"google_cloud_scheduler_job": 1, "google_pubsub_topic": 3}
    google.unfinished = {"google_cloud_scheduler_job"}
    done = site.run("deploy", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert only(done)["done"] == planned(only(done))
    # Two topics are refused, and then one of them again. Each plan is shown before it is applied.
    assert done.stderr.count("gcp: waiting for ") == done.stderr.count(" to create") - 1 == 2
    assert "was created only in part" in done.stderr
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def test_a_run_continues_at_most_three_times(site: Terminal, google: Google) -> None:
    google.refused = {"google_pubsub_topic": EXPIRED}
    done = site.run("deploy", "--yes")
    assert done.returncode == 1
    assert "before attempt 3 of 3 to continue" in done.stderr
    assert "attempt 4" not in done.stderr
    assert "error: gcp: the Google credentials have expired or were revoked" in done.stderr


def test_a_lasting_fault_beside_it_ends_the_run(site: Terminal, google: Google) -> None:
    google.refused = {"google_pubsub_topic": EXPIRED, "google_storage_bucket": "Error 403: no"}
    done = site.run("deploy", "--yes")
    assert done.returncode == 1
    assert "waiting for" not in done.stderr


def test_a_plan_beyond_the_confirmed_one_is_not_applied(site: Terminal, google: Google) -> None:
    assert site.run("deploy", "--yes").returncode == 0

    def drift() -> None:
        google.changed = {"google_pubsub_subscription": {"ack_deadline_seconds": 11}}

    google.refused = {"google_monitoring_alert_policy": EXPIRED}
    google.refusals = {"google_monitoring_alert_policy": 1}
    google.when_refused = drift
    settings = site.folder / "mcloud.toml"
    settings.write_text(
        settings.read_text().replace("variables = { ", "variables = { max_message_age = 600, ")
    )
    done = site.run("deploy", "--yes", "-o", "json")
    assert done.returncode == 1
    assert (
        "error: gcp: the plan to continue goes beyond the confirmed one:"
        " change google_pubsub_subscription.dlq, change google_pubsub_subscription.export,"
        " change google_pubsub_subscription.processor;"
        " run the same command again, and review the new plan"
    ) in done.stderr
    assert only(done)["plan"]["counts"]["change"] == 1


def test_the_name_of_a_deleted_database(site: Terminal, google: Google) -> None:
    google.refused = {"google_firestore_database": DATABASE}
    process = site.start("deploy", "--yes")
    said = read_until(process, "waiting for the name of a database that was just deleted")
    assert said.endswith(" before attempt 1 of 3 to continue: 288 s\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "which are saved in the state" in out
    assert not lock_file(site).exists()
    google.refused = {"google_firestore_database": DATABASE.replace("287", "1")}
    google.refusals = {"google_firestore_database": 1}
    assert site.run("deploy", "--yes").returncode == 0
