"""``mcloud plan``, ``deploy`` and ``destroy`` with real Terraform under the stand-in provider.

The resources do not exist, but have the names of those in the embedded Google Cloud, so that the
smoke probe works.
"""

import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import ROOT, Terminal
from patience import PATIENCE, eventually
from remedies import advised, follow

from mcloud.clouds.gcp.client import make_storage
from mcloud.local.state import State

from .module import terraform

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from .provider import Google, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    terraform()
    with serving(tmp_path_factory.mktemp("provider")) as google:
        yield google


@pytest.fixture
def google(served: Google) -> Iterator[Google]:
    served.reset()
    served.use_cloud()
    yield served
    served.release.set()


@pytest.fixture
def site(tmp_path: Path, embedded: State, google: Google) -> Terminal:
    """A command line with a profile whose only site Terraform deploys."""
    terminal = Terminal(tmp_path, tmp_path / "state")
    describe(tmp_path, embedded)
    empty = tmp_path / "empty.tfrc"
    empty.touch()
    terminal.environment |= {
        **google.environment,
        "MCLOUD_PROFILE": "prod",
        "TF_CLI_CONFIG_FILE": str(empty),
    }
    return terminal


def test_the_life_of_a_stack(site: Terminal, embedded: State, tmp_path: Path) -> None:
    folder = workspace(site)
    first = site.run("plan", "--detailed-exitcode", "-o", "json")
    assert first.returncode == 3, first.stderr
    counts = only(first)["plan"]["counts"]
    total = counts["create"]
    assert counts == {"create": total, "change": 0, "replace": 0, "destroy": 0}
    assert total > 50
    assert not (folder / "plan.tfplan").exists()
    assert_private(folder)

    refused = site.run("deploy")
    assert refused.returncode == 2
    assert "error: cannot ask without a terminal: Apply this to gcp?; use --yes" in refused.stderr

    # The outputs have the same names as those of the embedded provisioner.
    deployed = site.run("deploy", "gcp", "--yes", "-o", "json")
    assert deployed.returncode == 0, deployed.stderr
    outcome = only(deployed)
    assert outcome["result"] == "deployed"
    assert outcome["done"] == total
    assert set(outcome["services"].values()) == {"up"}
    # The only exception is the log of the function, since the real one is in Cloud Logging.
    known = {
        name: value for name, value in embedded.outputs["gcp"].items() if name != "function_log"
    }
    assert json.loads(site.run("outputs", "-o", "json").stdout) == {"gcp": known}
    assert outcome["outputs"].items() <= embedded.outputs["gcp"].items()
    assert_private(folder)

    again = site.run("deploy", "--yes")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("gcp: no changes; queue, function, candles, archive answer\n")
    assert "next: `mcloud produce --site gcp`" in again.stderr
    assert site.run("plan", "--detailed-exitcode").returncode == 0

    # Changed code changes the function and its source object, but nothing that holds data.
    upgraded = copy_of_mcloud(tmp_path / "upgraded")
    with (upgraded / "functions" / "gcp" / "main.py").open("a") as main:
        main.write("# other code\n")
    plan = only(site.run("plan", "-o", "json", PYTHONPATH=str(upgraded)))["plan"]
    assert {change["address"]: change["action"] for change in plan["changes"]} == {
        "google_cloudfunctions2_function.processor": "change",
        'google_cloudfunctions2_function.scheduled["anomaly"]': "change",
        'google_cloudfunctions2_function.scheduled["compact"]': "change",
        "google_storage_bucket_object.bundle": "change",
    }
    assert site.run("deploy", "--yes", PYTHONPATH=str(upgraded)).returncode == 0

    # Data is only deleted if its resource is named.
    kept = site.run("destroy", "--yes", "--confirm", "mcloud-raw-mcloud-local")
    assert kept.returncode == 2
    table, _, error = kept.stderr.partition("error:")
    assert "! loses raw trades of mcloud-raw-mcloud-local" in " ".join(table.split())
    assert "mcloud-trades-processor (waiting messages)" in error
    assert "mcloud-raw" not in error  # the deletion was confirmed
    assert error.endswith("use --confirm mcloud\n")
    destroyed = site.run("destroy", "--yes", "--confirm", "mcloud", "-v")
    assert destroyed.returncode == 0, destroyed.stderr
    assert destroyed.stdout == f"gcp: destroyed, {total} changes\n"
    # The protection was removed first.
    unlocked = [line.split() for line in destroyed.stderr.splitlines() if " changed " in line]
    assert sorted(line[2] for line in unlocked) == [
        "google_firestore_database.this",
        "google_storage_bucket.raw",
        "google_storage_bucket.staging",
    ]
    assert not folder.exists()
    # The last state, its backup and the outputs remain.
    (aside,) = (Path(site.environment["MCLOUD_STATE"]) / "removed" / "prod").iterdir()
    assert re.fullmatch(r"gcp-\d{8}T\d{6}Z", aside.name)
    assert f"the last state, its backups and the outputs are kept in {aside}" in destroyed.stderr
    assert json.loads((aside / "terraform" / "terraform.tfstate").read_text())["resources"] == []
    assert len(json.loads((aside / "terraform" / "terraform.tfstate.backup").read_text())) > 1
    assert json.loads((aside / "outputs.json").read_text())["topic"] == "mcloud-trades"
    told = site.run("outputs")
    assert told.returncode == 2
    assert "is not deployed; run `mcloud deploy gcp`" in told.stderr


def test_the_advised_command_rewrites_damaged_outputs(site: Terminal) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    stored = Path(site.environment["MCLOUD_STATE"]) / "outputs" / "prod" / "gcp.json"
    good = stored.read_text()
    stored.write_text("")
    failed = site.run("outputs")
    assert failed.stderr.startswith(f"error: {stored} cannot be read: it is empty; run `mcloud ")
    # The damage does not let a variable move the site either.
    moved = site.run("deploy", GCP_REGION="europe-west1")
    assert "the region is europe-west1 now (environment GCP_REGION)" in moved.stderr
    follow(site, advised(failed.stderr)[0])  # nothing changes, so there is no prompt
    assert stored.read_text() == good


def test_drift_is_listed_separately(site: Terminal, google: Google) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    google.changed = {"google_pubsub_subscription": {"ack_deadline_seconds": 11}}
    plan = only(site.run("plan", "-o", "json"))["plan"]
    drift = {each["address"]: each["changed"] for each in plan["drift"]}
    assert drift == {
        "google_pubsub_subscription.processor": ["ack_deadline_seconds 90 → 11"],
        "google_pubsub_subscription.dlq": ["ack_deadline_seconds 60 → 11"],
        "google_pubsub_subscription.export": ["ack_deadline_seconds 600 → 11"],
    }
    shown = site.run("plan").stdout
    assert "3 to change, 3 drifted" in shown
    assert "drift, which applying puts back:" in shown
    assert "puts back: ack_deadline_seconds 11 → 90" in shown


def test_functions_whose_update_failed_are_built_again_in_place(
    site: Terminal, google: Google
) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    google.changed = {"google_cloudfunctions2_function": {"state": "FAILED"}}
    planned = only(site.run("plan", "-o", "json"))["plan"]["changes"]
    # No grant is lost, and no schedule and no subscription loses its target.
    assert {each["address"]: each["action"] for each in planned} == {
        "terraform_data.build": "replace",
        "google_cloudfunctions2_function.processor": "change",
        'google_cloudfunctions2_function.scheduled["anomaly"]': "change",
        'google_cloudfunctions2_function.scheduled["compact"]': "change",
    }
    assert "the last update of a function failed" in site.run("plan").stdout
    assert site.run("deploy", "--yes").returncode == 0
    google.changed = {"google_cloudfunctions2_function": {"state": "ACTIVE"}}
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def test_the_channel_of_a_removed_address_is_deleted(site: Terminal, google: Google) -> None:
    settings = site.folder / "mcloud.toml"
    without = settings.read_text()
    settings.write_text(
        without.replace("variables = { ", 'variables = { alert_email = "ops@example.com", ')
    )
    assert site.run("deploy", "--yes").returncode == 0
    # As an earlier version has made it.
    kind = "google_monitoring_notification_channel"
    state = json.loads((workspace(site) / "terraform.tfstate").read_text())
    (channel,) = [each for each in state["resources"] if each["type"] == kind]
    channel["instances"][0]["attributes"]["force_delete"] = False
    state["serial"] += 1
    (workspace(site) / "terraform.tfstate").write_text(json.dumps(state))
    settings.write_text(without)
    done = site.run("deploy", "--yes", "-v")
    assert done.returncode == 0, done.stderr
    steps = [line.split() for line in done.stderr.splitlines() if kind in line and "  " in line]
    words = [line[1] for line in steps if line[0] == "gcp"]
    assert words == ["changing", "changed", "destroying", "destroyed"]
    assert site.run("plan", "--detailed-exitcode").returncode == 0


def test_a_store_that_would_be_replaced_is_reported(
    site: Terminal, google: Google, embedded: State
) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    google.fixed = {"google_storage_bucket": "location"}
    variable = site.folder / "mcloud.toml"
    variable.write_text(variable.read_text().replace("us-central1", "europe-west1"))
    plan = only(site.run("plan", "-o", "json"))["plan"]
    (bucket,) = [each for each in plan["changes"] if each["address"] == "google_storage_bucket.raw"]
    assert (bucket["action"], bucket["because"]) == ("replace", ["location"])
    assert (bucket["loses"], bucket["name"]) == ("raw trades", "mcloud-raw-mcloud-local")
    # The cloud would refuse it only after other resources are gone.
    refused = site.run("deploy", "--yes", "--confirm", "mcloud-raw-mcloud-local")
    assert (refused.returncode, refused.stdout) == (1, "gcp: failed, with nothing changed\n")
    assert refused.stderr.splitlines()[-1].startswith(
        "error: gcp: the plan would delete or replace google_storage_bucket.raw,"
        " google_storage_bucket.staging, protected from deletion; nothing was changed; undo the"
        " change in mcloud.toml"
    )
    moved = variable.read_text()
    unprotected = moved.replace("variables = { ", "variables = { deletion_protection = false, ")
    variable.write_text(unprotected.replace("europe-west1", "us-central1"))
    assert site.run("deploy", "--yes").returncode == 0
    variable.write_text(unprotected)
    to = embedded.resources()["gcp"]
    blob = make_storage(to.project, to.storage_endpoint).bucket(to.raw_bucket).blob("raw/left")
    blob.upload_from_string(b"trades")
    kept = site.run("deploy", "--yes")
    assert kept.returncode == 2
    stores = "mcloud-raw-mcloud-local (raw trades), mcloud-staging-mcloud-local (raw trades)"
    assert f"the data in {stores} will be deleted" in kept.stderr
    assert blob.exists()
    # The provider would delete one object after another.
    done = site.run("deploy", "--yes", "--confirm", "mcloud")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^gcp: deleted [\d,]+ versions of objects in mcloud-raw-mcloud-local$", done.stderr, re.M
    )
    assert not blob.exists()


def test_a_variable_of_the_shell_does_not_move_a_site(site: Terminal) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    moved = site.run("plan", GCP_REGION="europe-west1")
    assert moved.returncode != 0
    assert (
        "the region is europe-west1 now (environment GCP_REGION), and the site is in us-central1"
        in moved.stderr
    )


def test_a_site_that_fails_does_not_stop_another(
    site: Terminal, embedded: State, tmp_path: Path
) -> None:
    describe(
        tmp_path,
        embedded,
        '[profiles.prod.sites.other]\ncloud = "gcp"\nproject = "mcloud-local"\n'
        "variables = { function_timeout = 5 }\n",
    )
    done = site.run("deploy", "all", "--yes")
    assert done.returncode == 1
    assert re.fullmatch(
        r"gcp: deployed, \d+ changes; queue, function, candles, archive answer\n"
        r"other: failed, with nothing changed\n",
        done.stdout,
    )
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert error.startswith("error: other: Invalid value for variable")
    assert "The timeout must be from 10 to 570 seconds." in error


def test_on_a_terminal_it_asks_and_shows_each_resource(site: Terminal) -> None:
    said, code = on_a_terminal(site, "n\n", "deploy")
    assert code == 1
    assert "Apply this to gcp? [y/N]:" in said
    assert "nothing was done" in said
    said, code = on_a_terminal(site, "y\n", "deploy")
    assert code == 0
    assert re.search(r"gcp  created    google_pubsub_topic\.trades  \d+ s", said)
    # The name of the stack is asked for, since several stores are affected.
    said, code = on_a_terminal(site, "y\nmcloud-raw-mcloud-local\n", "destroy")
    assert code == 1
    assert "the name does not match; nothing was done" in said
    said, code = on_a_terminal(site, "y\nmcloud\n", "destroy")
    assert code == 0
    assert "will be deleted; type mcloud to confirm:" in said


def test_a_dry_run_changes_nothing(site: Terminal) -> None:
    looked = site.run("deploy", "--dry-run")
    assert looked.returncode == 0
    assert re.fullmatch(r"gcp: \d+ to create\n", looked.stdout)
    assert not (workspace(site) / "terraform.tfstate").exists()


def test_ctrl_c_waits_for_terraform_and_leaves_no_lock(site: Terminal, google: Google) -> None:
    google.held = "google_cloudfunctions2_function"
    process = site.start("deploy", "--yes", "-v")
    assert google.reached.wait(PATIENCE)
    assert lock_file(site).exists()
    process.send_signal(signal.SIGINT)
    said = read_until(process, "interrupted; waiting for")
    process.send_signal(signal.SIGINT)
    said += read_until(process, "still waiting")
    assert process.poll() is None
    google.release.set()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said + err
    done = said.count("  created ") + err.count("  created ")
    assert done > 0
    left = f"gcp: interrupted after {done} of (\\d+) changes, which are saved in the state\n"
    found = re.fullmatch(left, out)
    assert found, out + said + err
    total = int(found[1])
    assert done < total
    assert err.endswith("interrupted\n")
    assert not lock_file(site).exists()

    # The rest is done, and nothing twice.
    google.held = ""
    finished = site.run("deploy", "--yes", "-o", "json")
    assert finished.returncode == 0, finished.stderr
    assert only(finished)["done"] == total - done


def test_terraform_survives_a_mcloud_that_is_killed(site: Terminal, google: Google) -> None:
    google.held = "google_cloudfunctions2_function"
    process = site.start("deploy", "--yes")
    assert google.reached.wait(PATIENCE)
    process.kill()
    process.communicate()
    google.release.set()
    eventually(lambda: not lock_file(site).exists())
    assert only(site.run("plan", "-o", "json"))["plan"]["changes"] == []


def test_a_second_process_on_the_same_site_is_refused(site: Terminal, google: Google) -> None:
    google.held = "google_cloudfunctions2_function"
    process = site.start("deploy", "--yes")
    assert google.reached.wait(PATIENCE)
    second = site.run("plan")
    assert second.returncode == 1
    assert re.fullmatch(
        r"error: gcp: another mcloud process is working on this site since"
        r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        rf" \(process {process.pid}\); wait until it has ended, as with --lock-timeout 10m\n",
        second.stderr,
    )
    # A waiting command names the holder of the lock, and stops at once on Ctrl-C.
    third = site.start("plan", "--lock-timeout", "1h")
    assert f"(process {process.pid}); waiting for up to 3" in read_until(third, "waiting")
    third.send_signal(signal.SIGINT)
    assert third.wait(PATIENCE) == 130
    google.release.set()
    assert process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_held_lock_is_explained(site: Terminal, google: Google) -> None:
    """A terraform that somebody runs by hand holds the lock."""
    assert site.run("plan").returncode == 0
    google.held = "google_cloudfunctions2_function"
    folder = workspace(site)
    other = subprocess.Popen(
        (terraform(), "apply", "-input=false", "-auto-approve"),
        cwd=folder,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert google.reached.wait(PATIENCE)
    locked = site.run("plan")
    waiting = site.start("plan", "--lock-timeout", "1h")
    read_until(waiting, "(apply, lock ")
    google.release.set()
    assert other.wait(PATIENCE) == 0
    lock = locked.stderr
    assert locked.returncode == 1
    assert lock.startswith("error: gcp: the state is locked since 2")
    assert "(apply, lock " in lock
    identity = lock.partition("lock ")[2].split(")")[0].rpartition(" ")[2]
    assert f"`{terraform()} -chdir={folder} force-unlock {identity}`" in lock
    # When it is released, the waiting command plans, and finds no changes.
    out, err = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, out) == (0, "gcp: no changes\n"), err


def test_only_the_reviewed_plan_is_applied(site: Terminal, embedded: State) -> None:
    file = site.folder / "reviewed.plan"
    file.touch(0o644)
    planned = site.run("plan", "--out", file)
    assert planned.returncode == 0, planned.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "which only you may read: it can hold sensitive values" in planned.stderr
    first = file.read_bytes()

    def apply(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return site.run("deploy", "--plan", file, "--yes", *arguments, **environment)

    def refused(why: str) -> None:
        done = apply()
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert error == (
            f"error: gcp: the plan in {file} is not applied: {why}; run `mcloud plan --out {file}`"
            " again, and review the new plan"
        )

    # The settings differ from those of the plan.
    document = site.folder / "mcloud.toml"
    text = document.read_text()
    settings = 'variables = { database = "(default)"'
    document.write_text(text.replace(settings, f"{settings}, function_timeout = 60"))
    refused("other contents of terraform.tfvars.json")
    document.write_text(text.replace('cloud = "gcp"\n', 'cloud = "gcp"\nname = "other"\n', 1))
    refused("it is for the stack 'mcloud', not 'other'")
    document.write_text(text)
    assert not (workspace(site) / "terraform.tfstate").exists()

    deployed = apply("-o", "json")
    assert deployed.returncode == 0, deployed.stderr
    assert only(deployed)["result"] == "deployed"
    refused("the site has a different state now")
    assert site.run("plan", "--out", file).returncode == 0
    state = json.loads((workspace(site) / "terraform.tfstate").read_text())
    again = {**state, "serial": state["serial"] + 1}
    (workspace(site) / "terraform.tfstate").write_text(json.dumps(again))
    refused(
        f"the state has changed from version {state['serial']} to {state['serial'] + 1}: another"
        " plan was applied in the meantime"
    )
    file.write_bytes(first)
    elsewhere = apply("--profile", "local")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr.endswith(
        f"the plan in {file} is for the profile 'prod', not 'local'; use --profile prod\n"
    )
    assert "unknown site 'aws'; choose from gcp" in site.run("deploy", "aws", "--plan", file).stderr


@pytest.mark.parametrize(
    ("kind", "refusal", "message"),
    [
        (
            "google_cloudfunctions2_function",
            "Error creating function: googleapi: Error 403: Permission"
            " 'cloudfunctions.functions.create' denied on resource (or it may not exist).",
            "a permission is missing: Error creating function: googleapi: Error 403: Permission"
            " 'cloudfunctions.functions.create' denied on resource (or it may not exist).;"
            " have it granted (`mcloud doctor` lists what is missing), then run the same command"
            " again: it continues from what is in the state",
        ),
        (
            "google_pubsub_topic",
            "Error creating Topic: googleapi: Error 429: Quota exceeded for quota metric",
            "a quota does not allow it",
        ),
        (
            "google_project_service",
            "Error when reading or editing Project Service : Request `List Project Services"
            ' mcloud-local` returned error: Batch request and retried single request "List Project'
            ' Services mcloud-local" both failed. Final error: Failed to list enabled services for'
            " project mcloud-local: googleapi: Error 403: Service Usage API has not been used in"
            " project 123456789012 before or it is disabled. Enable it by visiting https://console"
            ".developers.google.com/apis/api/serviceusage.googleapis.com/overview?project=1 then",
            "the API serviceusage.googleapis.com is disabled in the Google project mcloud-local",
        ),
    ],
)
def test_refused_in_the_middle(
    site: Terminal, google: Google, kind: str, refusal: str, message: str
) -> None:
    google.refused = {kind: refusal}
    failed = site.run("deploy", "--yes", "-o", "json")
    assert failed.returncode == 1
    assert f"error: gcp: {message}" in failed.stderr
    outcome = only(failed)
    assert outcome["result"] == "failed"
    assert 0 < outcome["done"] < planned(outcome)
    google.refused = {}
    finished = only(site.run("deploy", "--yes", "-o", "json"))
    assert finished["done"] == planned(finished)
    assert finished["done"] >= planned(outcome) - outcome["done"]  # a failed one is made again


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "Attempted to load application default credentials since neither `credentials` nor"
            " `access_token` was set in the provider block.  No credentials loaded. To use your"
            " gcloud credentials, run 'gcloud auth application-default login'",
            "there are no Google credentials; run `gcloud auth application-default login`, or"
            " correct GOOGLE_APPLICATION_CREDENTIALS, then run the same command again: it continues"
            " from what is in the state\n",
        ),
        (
            'oauth2: "invalid_grant" "Token has been expired or revoked."',
            "the Google credentials have expired or were revoked;"
            " run `gcloud auth application-default login`, or correct"
            " GOOGLE_APPLICATION_CREDENTIALS, then run the same command again: it continues from"
            " what is in the state\n",
        ),
        (
            "googleapi: Error 403: Permission denied on resource project mcloud-local.",
            "the Google project is wrong, or you have no access to it: googleapi: Error 403:"
            " Permission denied on resource project mcloud-local.; correct `project` in"
            " mcloud.toml: its id, not its name or number, then run the same command"
            " again: it continues from what is in the state\n",
        ),
        (
            'the user does not have permission to access Project "mcloud-local" or it may not'
            " exist",
            "the Google project is wrong, or you have no access to it: the user does not have"
            ' permission to access Project "mcloud-local" or it may not exist; correct `project` in'
            " mcloud.toml: its id, not its name or number, then run the same command again: it"
            " continues from what is in the state\n",
        ),
        (
            'Error when reading or editing Project "mcloud-local": googleapi: Error 403: Cloud'
            " Resource Manager API has not been used in project 123456789012 before or it is"
            " disabled. Enable it by visiting https://console.developers.google.com/apis/api/"
            "cloudresourcemanager.googleapis.com/overview?project=123456789012 then retry.",
            "the API cloudresourcemanager.googleapis.com is disabled in the Google project"
            ' 123456789012: Error when reading or editing Project "mcloud-local": googleapi: Error'
            " 403: Cloud Resource Manager API has not been used in project 123456789012 before or"
            " it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/"
            "cloudresourcemanager.googleapis.com/overview?project=1234…; run `gcloud services"
            " enable cloudresourcemanager.googleapis.com --project 123456789012`, and wait a few"
            " minutes, then run the same command again: it continues from what is in the state\n",
        ),
        (
            "googleapi: Error 403: Your application is authenticating by using local Application"
            " Default Credentials. The cloudresourcemanager.googleapis.com API requires a quota"
            " project, which is not set by default.",
            "this Google API needs a project that your own account is billed to: googleapi: Error"
            " 403: Your application is authenticating by using local Application Default"
            " Credentials. The cloudresourcemanager.googleapis.com API requires a quota project,"
            " which is not set by default.; run `gcloud auth application-default set-quota-project"
            " mcloud-local`, then run the same command again: it continues from what is in the"
            " state\n",
        ),
    ],
)
def test_errors_of_credentials_and_project_are_explained(
    site: Terminal, google: Google, said: str, message: str
) -> None:
    google.configuring = said
    failed = site.run("plan")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"error: gcp: {message}"


def test_a_state_that_could_not_be_saved_is_saved_by_the_next_run(site: Terminal) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    local, errored = (workspace(site) / f"{name}.tfstate" for name in ("terraform", "errored"))
    newer = json.loads(local.read_text())
    newer["serial"] += 1
    newer["outputs"]["topic"]["value"] = "newer"
    errored.write_text(json.dumps(newer))
    assert only(site.run("plan", "-o", "json"))["plan"]["outputs"] == ["topic"]
    assert json.loads(local.read_text())["outputs"]["topic"]["value"] == "newer"
    assert not errored.exists()


def test_vv_shows_the_output_of_terraform(site: Terminal, google: Google) -> None:
    google.configuring = "It is not set up"
    said = site.run("plan", "-vv").stderr
    assert "Error: It is not set up" in said
    assert "Terraform 1." in said or "OpenTofu 1." in said


def test_a_module_that_is_broken(site: Terminal, tmp_path: Path) -> None:
    broken = copy_of_mcloud(tmp_path / "broken")
    main = broken / "terraform" / "gcp" / "main.tf"
    main.write_text(main.read_text() + "\nresource google_pubsub_topic {\n")
    failed = site.run("plan", PYTHONPATH=str(broken))
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: gcp: ")
    assert len(failed.stderr.splitlines()) == 1
    assert "main.tf" in failed.stderr


def test_a_state_without_room_on_the_disk_is_saved(site: Terminal, google: Google) -> None:
    with tiny_disk(site.folder / "disk") as disk:
        site.environment["MCLOUD_STATE"] = str(disk)
        google.held = "google_cloudfunctions2_function"
        process = site.start("deploy", "--yes", "-o", "json")
        assert google.reached.wait(PATIENCE)
        fill(disk / "full")
        google.release.set()
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "Terraform found no room for its state (no space left on device)" in err, err[-700:]
        folder = disk / "terraform" / "prod" / "gcp"
        state = json.loads((folder / "terraform.tfstate").read_text())
        assert any(each["name"] == "processor" for each in state["resources"])
        outcome = json.loads(out)["sites"]["gcp"]

        # There is still no space, so nothing is begun.
        full = site.run("deploy", "--yes")
        assert full.returncode == 1
        assert "nothing was changed" in full.stderr or "cannot be written" in full.stderr

        (disk / "full").unlink()
        finished = only(site.run("deploy", "--yes", "-o", "json"))
        assert finished["done"] == planned(outcome) - outcome["done"]


def describe(folder: Path, embedded: State, more: str = "") -> None:
    """Write a mcloud.toml with the endpoints only. The deployment provides the rest."""
    outputs = embedded.outputs["gcp"]
    known = {
        name: value
        for name, value in outputs.items()
        if name in ("project", "region") or name.endswith(("_endpoint", "_url"))
    }
    lines = [f'{name} = "{value}"' for name, value in known.items()]
    (folder / "mcloud.toml").write_text(
        "[profiles.prod.sites.gcp]\n"
        'cloud = "gcp"\n'
        'variables = { database = "(default)" }\n' + "\n".join(lines) + f"\n{more}"
    )


def only(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the document of the only site from ``-o json``."""
    assert done.stdout, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)["sites"]["gcp"]
    return outcome


def planned(outcome: dict[str, Any]) -> int:
    return len(outcome["plan"]["changes"])


def workspace(site: Terminal) -> Path:
    return Path(site.environment["MCLOUD_STATE"]) / "terraform" / "prod" / "gcp"


def lock_file(site: Terminal) -> Path:
    """Return the file that exists while Terraform holds the lock of a state on the disk."""
    return workspace(site) / ".terraform.tfstate.lock.info"


def assert_private(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        # The names of providers, and the id of a process.
        if path.name not in (".terraform.lock.hcl", "lock"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def copy_of_mcloud(folder: Path) -> Path:
    """Copy mcloud, so that a test can change it."""
    for name in ("mcloud", "functions", "terraform"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    return folder


def on_a_terminal(site: Terminal, typed: str, *arguments: str) -> tuple[str, int]:
    """Run a command on a terminal with typed input. Return its output and the exit code."""
    person, terminal = pty.openpty()
    os.write(person, typed.encode())  # the terminal keeps the input until it is read
    process = subprocess.Popen(
        site.command(*arguments),
        cwd=site.folder,
        env={**site.environment, "TERM": "xterm", "COLUMNS": "200"},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    try:
        while read := os.read(person, 4096):
            seen += read
    except OSError:
        pass  # the other end is closed, since the command has ended
    os.close(person)
    return seen.decode().replace("\r", ""), process.wait(PATIENCE)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it never said {words!r}: {said}")


def tiny_disk(folder: Path) -> "TinyDisk":
    folder.mkdir()
    return TinyDisk(folder)


class TinyDisk:
    """A file system of 8 MiB, if this machine allows mounting one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        try:
            mounted = subprocess.run(
                ("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(self.folder)),
                capture_output=True,
            ).returncode
        except FileNotFoundError:
            mounted = 1
        if mounted != 0:
            pytest.skip("no small file system may be mounted here")
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(("umount", str(self.folder)), check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue
