"""What went wrong, in one sentence, from what Terraform and its providers say."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcloud.errors import McloudError
from mcloud.infra.environment import without

Diagnostic = dict[str, Any]
"""As ``-json`` has it: ``summary``, ``detail``, and perhaps ``address`` and ``range``."""


@dataclass(frozen=True)
class Run:
    """What failed: ``binary`` in ``folder``."""

    folder: Path
    binary: str
    withheld: tuple[str, ...] = ()
    """Variables of the shell that mcloud keeps from Terraform, as TF_DATA_DIR."""

    def command(self, words: str) -> str:
        """Return a command for a person to type, which runs as mcloud would run it."""
        start = (*without(self.withheld), self.binary, f"-chdir={self.folder}")
        return f"`{shlex.join(start)} {words}`"


AGAIN = "run the same command again: what was made is in the state, and it goes on from there"


def explain(diagnostics: Sequence[Diagnostic], run: Run) -> McloudError:
    """The error for a run that failed; the first diagnostic that is known decides."""
    for known in _KNOWN:
        for each in diagnostics:
            error = known(_text(each), run)
            if error is not None:
                return error
    if not diagnostics:
        return McloudError("Terraform failed and did not say why", remedy="run again with -vv")
    # One that says where is better than one that says that something is wrong.
    first = min(diagnostics, key=lambda each: not _where(each))
    more = len(diagnostics) - 1
    message = _one_line(_text(first)) + _where(first)
    if more:
        message += f" (and {more} more: -vv shows all)"
    return McloudError(message, remedy=f"mend that and {AGAIN}" if first.get("address") else "")


def from_text(said: str) -> list[Diagnostic]:
    """The diagnostics of a command that has no ``-json``."""
    plain = "\n".join(re.sub(r"^[│╷╵] ?", "", line) for line in said.splitlines())
    found = re.split(r"^Error: ", plain, flags=re.MULTILINE)[1:]
    diagnostics = []
    for each in found:
        summary, _, detail = each.partition("\n\n")
        diagnostic: Diagnostic = {"summary": _one_line(summary), "detail": detail.strip()}
        place = re.match(r"\s*on (\S+) line (\d+)[^\n]*\n.*?\n\n(.*)", detail, re.DOTALL)
        if place:
            diagnostic["range"] = {"filename": place[1], "start": {"line": int(place[2])}}
            diagnostic["detail"] = place[3].strip()
        diagnostics.append(diagnostic)
    return diagnostics


def _locked(text: str, run: Run) -> McloudError | None:
    if "Error acquiring the state lock" not in text:
        return None
    fields = dict(re.findall(r"^\s*(ID|Operation|Who|Created):[ \t]*(.*)$", text, re.MULTILINE))
    if "ID" not in fields:
        return McloudError(
            f"the state's lock cannot be had: {_one_line(text)}",
            remedy="wait for whoever holds it, and run the same command again",
        )
    operation = fields.get("Operation", "").removeprefix("OperationType").lower() or "at work"
    free = run.command(f"force-unlock {fields['ID']}")
    return McloudError(
        f"the state is locked since {fields.get('Created', 'an unknown time')} by"
        f" {fields.get('Who', 'somebody')} ({operation}, lock {fields['ID']})",
        remedy=f"wait until that has ended; only where its process is gone: {free}",
    )


def _unsaved(text: str, run: Run) -> McloudError | None:
    if not re.search("Failed to (save|persist|write) state|Error saving state", text):
        return None
    why = text.strip().rpartition(": ")[2].rstrip(".")
    if (run.folder / "errored.tfstate").exists():
        return McloudError(
            f"Terraform could not save its state ({why}); it is in {run.folder}/errored.tfstate",
            remedy="mend the cause and run the same command again: it saves that state first",
        )
    return McloudError(
        f"Terraform found no room for its state ({why}); mcloud had kept some, and it is complete"
        f" in {run.folder}/terraform.tfstate",
        remedy=f"make room and {AGAIN}",
    )


def _backend(text: str, run: Run) -> McloudError | None:
    if not re.search(
        "Backend (initialization required|configuration changed|configuration block has changed)"
        "|state migration",
        text,
    ):
        return None
    return McloudError(
        "the state of this site is where an earlier `backend` said, not where mcloud.toml says now",
        remedy=f"move it with {run.command('init -migrate-state')}, or take `backend` back;"
        " then run the same command again",
    )


def _rule(pattern: str, message: str, remedy: str) -> Callable[[str, Run], McloudError | None]:
    """``{0}`` in the message is what the pattern's first group found, or else the whole text."""

    def known(text: str, run: Run) -> McloudError | None:
        found = re.search(pattern, text, re.DOTALL)
        if found is None:
            return None
        group = next((each for each in found.groups() if each), _one_line(text))
        return McloudError(
            message.format(_one_line(group)), remedy=remedy.format(folder=run.folder)
        )

    return known


_KNOWN: tuple[Callable[[str, Run], McloudError | None], ...] = (
    _unsaved,
    _locked,
    _backend,
    _rule(
        r"(Failed to query available provider packages.*|Failed to install provider.*"
        r"|[Cc]ould not (?:retrieve|query) .*provider.*)",
        "a provider cannot be had: {0}",
        "connect to the registry, or name a local mirror: `plugin_dir` in [terraform] of"
        " mcloud.toml, or TF_PLUGIN_DIR",
    ),
    _rule(
        r"ExpiredToken|RequestExpired|token included in the request is expired"
        r"|refresh cached SSO token failed|SSO session .*(?:expired|invalid)|token has expired",
        "the AWS credentials have expired",
        "sign in again, for example with `aws sso login`, and run the same command again",
    ),
    _rule(
        r"No valid credential sources found|no EC2 IMDS role found|NoCredentialProviders",
        "there are no AWS credentials",
        "run `aws configure sso`, or set AWS_PROFILE",
    ),
    _rule(
        r"InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch"
        r"|AuthFailure|security token included in the request is invalid",
        "AWS does not know these credentials",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    _rule(
        r"could not find default credentials|Attempted to load application default credentials"
        r"|No credentials loaded",
        "there are no Google credentials",
        "run `gcloud auth application-default login`",
    ),
    _rule(
        r"invalid_grant|reauth related error|oauth2: cannot fetch token",
        "the Google credentials have expired or were taken back",
        "run `gcloud auth application-default login` and the same command again",
    ),
    _rule(
        r"((?:[Pp]roject \S+ (?:was )?not found|requested project was not found"
        r"|CONSUMER_INVALID|Permission denied on resource project|USER_PROJECT_DENIED"
        r"|may not exist or .*project)[^\n]*)",
        "the Google project is wrong, or not for you: {0}",
        "correct `project` in mcloud.toml: its id, not its name or number",
    ),
    _rule(
        r"(?:Quota exceeded|LimitExceeded|quotaExceeded|RESOURCE_EXHAUSTED"
        r"|UnreservedConcurrentExecution)",
        "a quota does not allow it: {0}",
        "ask the cloud for more, or set a smaller value in the site's `variables`"
        f" (a new AWS account: `reserve_concurrency = false`); then {AGAIN}",
    ),
    _rule(
        r"AccessDenied|UnauthorizedOperation|is not authorized to perform"
        r"|googleapi: Error 403|PERMISSION_DENIED|[Pp]ermission '\S+' denied",
        "a permission is missing: {0}",
        f"have it granted, then {AGAIN}",
    ),
    _rule(
        r"Saved plan is stale",
        "the state has changed since this was planned: somebody else has applied something",
        "run the same command again, and look at the new plan",
    ),
    _rule(
        r"Unsupported Terraform Core version|required_version",
        "this Terraform is too old for the modules: {0}",
        "update it, or name a newer one in MCLOUD_TERRAFORM",
    ),
    _rule(
        r"no space left on device|disk quota exceeded",
        "the disk is full: {0}",
        "make room and run the same command again",
    ),
    _rule(
        r"state file could not be read|Unsupported state file format|state data in .* corrupt",
        "the state cannot be read: {0}",
        "put an earlier one back: its backup lies beside it, or is an older version of the object",
    ),
    _rule(
        r"Inconsistent dependency lock file|Required plugins are not installed"
        r"|does not match any of the checksums|locked provider",
        "the providers at hand are not those that this site was set up with: {0}",
        "remove {folder}/.terraform.lock.hcl and run the same command again: it sets them up anew",
    ),
)


def _text(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.get('summary', '')}\n{diagnostic.get('detail', '')}".strip()


def _one_line(text: str) -> str:
    """Enough to know what it is about; ``-vv`` shows all."""
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:297]}…"


def _where(diagnostic: Diagnostic) -> str:
    """`` (aws_sqs_queue.trades, messaging.tf:12)``"""
    places = []
    if diagnostic.get("address"):
        places.append(diagnostic["address"])
    if diagnostic.get("range"):
        places.append(f"{diagnostic['range']['filename']}:{diagnostic['range']['start']['line']}")
    return f" ({', '.join(places)})" if places else ""
