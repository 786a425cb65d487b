"""Errors with cause and remedy, from the diagnostics of Terraform and its providers."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from mcloud.clouds.aws import causes as aws
from mcloud.clouds.causes import explain as explain_refusal
from mcloud.clouds.gcp import causes as gcp
from mcloud.errors import McloudError
from mcloud.infra import state_errors
from mcloud.infra.plan import UNPROTECT
from mcloud.infra.state_errors import AGAIN, LOCK_FILE, FailedRun, one_line
from mcloud.infra.transient import TransientError, find_wait

Diagnostic = dict[str, Any]
"""Diagnostic in the format of ``-json``: ``summary``, ``detail``, optional ``address`` and
``range``."""


def explain(diagnostics: Sequence[Diagnostic], run: FailedRun) -> McloudError:
    """Return the error for a failed run, from the first rule that recognises a diagnostic.

    It is a TransientError if all diagnostics are about faults that pass by themselves.
    """
    error = _explained(diagnostics, run)
    wait = find_wait([_text(each) for each in diagnostics])
    if wait is None:
        return error
    return TransientError(error.message, remedy=error.remedy, wait=wait)


def _explained(diagnostics: Sequence[Diagnostic], run: FailedRun) -> McloudError:
    for known in _KNOWN:
        for each in diagnostics:
            error = known(_text(each), run)
            if error is not None:
                return error
    if not diagnostics:
        return McloudError("Terraform failed and did not say why", remedy="run again with -vv")
    # Prefer a diagnostic that includes a location.
    first = min(diagnostics, key=lambda each: not _where(each))
    more = len(diagnostics) - 1
    message = one_line(_text(first)) + _where(first)
    if more:
        message += f" (and {more} more: -vv shows all)"
    return McloudError(message, remedy=f"fix that, then {AGAIN}" if first.get("address") else "")


def from_text(said: str) -> list[Diagnostic]:
    """Parse the diagnostics of a command that does not support ``-json``."""
    plain = "\n".join(re.sub(r"^[│╷╵] ?", "", line) for line in said.splitlines())
    found = re.split(r"^Error: ", plain, flags=re.MULTILINE)[1:]
    diagnostics = []
    for each in found:
        summary, _, detail = each.partition("\n\n")
        diagnostic: Diagnostic = {"summary": " ".join(summary.split()), "detail": detail.strip()}
        place = re.match(r"\s*on (\S+) line (\d+)[^\n]*\n.*?\n\n(.*)", detail, re.DOTALL)
        if place:
            diagnostic["range"] = {"filename": place[1], "start": {"line": int(place[2])}}
            diagnostic["detail"] = place[3].strip()
        diagnostics.append(diagnostic)
    return diagnostics


def _other_providers(text: str, run: FailedRun) -> McloudError | None:
    """Recognise packages of providers that differ from those in the lock file."""
    if not re.search(
        r"Inconsistent dependency lock file|Required plugins are not installed"
        r"|doesn't match any of the\s+checksums|does not match any of the\s+checksums"
        r"|locked provider|Provider dependency changes detected",
        text,
    ):
        return None
    if run.lock_file is None:
        return McloudError(
            f"the available providers are not those that this site was initialised with: "
            f"{one_line(text)}",
            remedy=f"remove {run.folder}/{LOCK_FILE} and run the same command again, which "
            "initialises the providers again",
        )
    return McloudError(
        f"the available providers are not those in {run.lock_file}: {one_line(text)}",
        remedy="if they may be used, run `mcloud lock --upgrade`, and look at the difference",
    )


def _refused(text: str, run: FailedRun) -> McloudError | None:
    """Return the error for a request that a cloud refused.

    The text shows which cloud it was, since the state may be stored in the other one.
    """
    of_google = re.search(
        "google|gcloud|oauth2|gserviceaccount|default credentials|requested project"
        "|access Project|No credentials loaded",
        text,
    )
    causes = (*gcp.CAUSES, gcp.LACKS) if of_google else (*aws.CAUSES, aws.LACKS)
    found = explain_refusal(text, causes, run.project)
    if found is None:
        return None
    message = found.text if found.is_whole else f"{found.text}: {one_line(text)}"
    return McloudError(message, remedy=f"{found.remedy}, then {AGAIN}")


def _rule(
    pattern: str, message: str, remedy: str
) -> Callable[[str, FailedRun], McloudError | None]:
    """Return a function that recognises an error by a pattern.

    ``{0}`` in the message stands for the first group that matched, or else for the whole text.
    """

    def known(text: str, run: FailedRun) -> McloudError | None:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            return None
        group = next((each for each in found.groups() if each), one_line(text))
        return McloudError(message.format(one_line(group)), remedy=remedy.format(folder=run.folder))

    return known


_KNOWN: tuple[Callable[[str, FailedRun], McloudError | None], ...] = (
    state_errors.unsaved,
    state_errors.locked,
    state_errors.unwritable,
    state_errors.damaged,
    state_errors.other_than_its_digest,
    state_errors.without_lock_table,
    state_errors.without_bucket,
    state_errors.without_locks,
    _rule(
        # Terraform before 1.0. Later versions check only the format of the file.
        r"state snapshot was created by (Terraform v\S+), which is newer than current",
        "the state was written by {0}, and this one is older",
        "update Terraform, or set MCLOUD_TERRAFORM to a newer one",
    ),
    state_errors.elsewhere,
    _other_providers,
    _rule(
        r"Could not retrieve providers for locking.*?:\n- (.*)",
        "the checksums of a provider cannot be fetched: {0}",
        "connect to the registry, name a mirror that has the packages (`plugin_dir` in [terraform]"
        " of mcloud.toml, or TF_PLUGIN_DIR), or choose other platforms with --platform",
    ),
    _rule(
        r"(Failed to query available provider packages.*|Failed to install provider.*"
        r"|[Cc]ould not (?:retrieve|query) .*provider.*)",
        "a provider cannot be fetched: {0}",
        "connect to the registry, or name a local mirror: `plugin_dir` in [terraform] of"
        " mcloud.toml, or TF_PLUGIN_DIR",
    ),
    _rule(
        r"deletion_protection is on",
        "the stack is protected from deletion, and this would delete it; nothing was deleted",
        UNPROTECT,
    ),
    _refused,
    _rule(
        r"Saved plan is stale",
        "the state has changed since this was planned: somebody else has applied a plan",
        "run the same command again, and look at the new plan",
    ),
    _rule(
        r"Unsupported Terraform Core version|required_version",
        "this Terraform is too old for the modules: {0}",
        "update it, or set MCLOUD_TERRAFORM to a newer one",
    ),
    _rule(
        r"no space left on device|disk quota exceeded",
        "the disk is full: {0}",
        "free some space and run the same command again",
    ),
    _rule(
        r"x509: [^\n]*",
        "the server's certificate is not trusted: {0}",
        "set SSL_CERT_FILE to a file with its certificate authority, such as your proxy's",
    ),
    _rule(
        r"(dial tcp[^\n]*|proxyconnect tcp[^\n]*|TLS handshake timeout|i/o timeout)",
        "the cloud cannot be reached: {0}",
        "check the network and HTTPS_PROXY; `mcloud doctor` shows which services answer",
    ),
    state_errors.unlockable,
)


def _text(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.get('summary', '')}\n{diagnostic.get('detail', '')}".strip()


def _where(diagnostic: Diagnostic) -> str:
    """Return the location, such as `` (aws_sqs_queue.trades, messaging.tf:12)``, or nothing."""
    places = []
    if diagnostic.get("address"):
        places.append(diagnostic["address"])
    if diagnostic.get("range"):
        places.append(f"{diagnostic['range']['filename']}:{diagnostic['range']['start']['line']}")
    return f" ({', '.join(places)})" if places else ""
