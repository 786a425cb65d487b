"""Planned changes, parsed from the output of ``terraform show -json``. No I/O.

Format: https://developer.hashicorp.com/terraform/internals/json-format
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from mcloud.errors import McloudError

_Entry = Mapping[str, Any]

ChangeAction = Literal["create", "change", "replace", "destroy"]

CREATE: Final = "create"
UPDATE: Final = "change"
REPLACE: Final = "replace"
DELETE: Final = "destroy"
CREATED, CHANGED, DESTROYED = "created", "changed", "destroyed"

_ACTIONS: Mapping[tuple[str, ...], ChangeAction] = {
    ("create",): CREATE,
    ("update",): UPDATE,
    ("delete",): DELETE,
    ("delete", "create"): REPLACE,
    ("create", "delete"): REPLACE,
}

# Resources that hold data, by kind: the data that is lost with one, and the attribute with its
# name. Messages wait in a queue or a subscription; a topic passes them to its subscriptions.
_STORES = {
    "aws_dynamodb_table": ("candles or control records", "name"),
    "aws_s3_bucket": ("raw trades", "bucket"),
    "aws_sqs_queue": ("waiting messages", "name"),
    "aws_kinesis_firehose_delivery_stream": ("trades that are not written yet", "name"),
    "google_firestore_database": ("candles and control records", "name"),
    "google_storage_bucket": ("raw trades", "name"),
    "google_pubsub_subscription": ("waiting messages", "name"),
    "google_pubsub_topic": ("waiting messages", "name"),
}
# What is replaced so that the functions are built again in place, which keeps the code that still
# serves, and the grants and triggers.
_BUILD = "terraform_data.build"
# Function sources, which can be rebuilt at any time.
_REBUILT = {"google_storage_bucket.source"}

UNPROTECT = (
    "undo the change in mcloud.toml that causes it, such as another `name`, `region` or `database`;"
    " or, if the data may be deleted, first set `deletion_protection = false` in the site's "
    "`variables`,"
    " leave everything else as it was, and run `mcloud deploy`"
)
"""Remedy for a deployment that would delete what is protected."""

_MANY = 6  # maximum number of attributes shown
_SHORT = 32  # maximum length of a value shown, in characters
HIDDEN = "(sensitive)"


@dataclass(frozen=True)
class Change:
    address: str
    """Terraform address, such as ``aws_sqs_queue.trades``."""
    kind: str
    action: ChangeAction
    name: str = ""
    """The cloud's name for the resource, if it exists and its data would be lost."""
    because: tuple[str, ...] = ()
    """Attributes that cannot be changed in place and so cause a replacement."""
    changed: tuple[str, ...] = ()
    """Attributes that change; short values are shown before and after the change."""
    holds: str = ""
    """Data that would be lost with the resource; empty if none."""
    unfinished: bool = False
    """Whether an interrupted run left the resource unfinished. It is replaced and holds no data."""
    protected: bool = False
    """Whether the cloud refuses to delete the resource with its current settings."""
    asked: bool = False
    """Whether mcloud requested the replacement, because a function does not run the deployed
    code."""

    @property
    def done(self) -> str:
        """The word shown once the change is made."""
        return {CREATE: CREATED, REPLACE: CREATED, UPDATE: CHANGED, DELETE: DESTROYED}[self.action]

    @property
    def summary(self) -> str:
        """One line that describes the change."""
        if self.unfinished:
            return "was created only in part"
        if self.asked:
            return "the last update of a function failed"
        if self.action == REPLACE and self.because:
            return f"cannot be changed in place: {', '.join(self.because)}"
        more = len(self.changed) - _MANY
        return ", ".join((*self.changed[:_MANY], *([f"{more} more"] if more > 0 else [])))

    @property
    def document(self) -> "ChangeDocument":
        return ChangeDocument(
            address=self.address,
            kind=self.kind,
            action=self.action,
            because=self.because,
            changed=self.changed,
            loses=self.holds or None,
            name=self.name or None,
            protected=self.protected,
        )


@dataclass(frozen=True)
class ChangeDocument:
    """A change as JSON: see the fields of `Change`."""

    address: str
    kind: str
    action: ChangeAction
    because: tuple[str, ...]
    changed: tuple[str, ...]
    loses: str | None
    """Data that would be lost with the resource."""
    name: str | None
    protected: bool


@dataclass(frozen=True)
class StackPlan:
    changes: tuple[Change, ...]
    drift: tuple[Change, ...] = ()
    """Changes and deletions made outside mcloud since the last apply. Applying reverts them."""
    outputs: tuple[str, ...] = ()
    """Names of the outputs that change."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Earlier addresses of resources to which the module now gives other addresses, by the new
    address."""

    @property
    def empty(self) -> bool:
        """Whether applying the plan would change nothing."""
        return not self.changes and not self.outputs

    @property
    def at_risk(self) -> tuple[Change, ...]:
        """Changes that would lose data."""
        return tuple(change for change in self.changes if change.holds)

    def counts(self) -> dict[str, int]:
        """Return the number of changes by action."""
        actions = [change.action for change in self.changes]
        return {action: actions.count(action) for action in (CREATE, UPDATE, REPLACE, DELETE)}

    @property
    def document(self) -> "StackPlanDocument":
        return StackPlanDocument(
            changes=tuple(change.document for change in self.changes),
            drift=tuple(change.document for change in self.drift),
            outputs=self.outputs,
            counts=self.counts(),
        )


@dataclass(frozen=True)
class StackPlanDocument:
    """A plan as JSON: see the fields of `StackPlan`."""

    changes: tuple[ChangeDocument, ...]
    drift: tuple[ChangeDocument, ...]
    outputs: tuple[str, ...]
    counts: Mapping[str, int]
    """Number of changes by action."""


@dataclass(frozen=True)
class HeldChannel:
    """A notification channel that cannot be deleted while alert policies name it."""

    address: str
    """Terraform address."""
    email: str


def parse(shown: Mapping[str, Any]) -> StackPlan:
    """Parse a plan. Sensitive values are left out."""
    changes = list(_changes(shown.get("resource_changes", ())))
    return StackPlan(
        changes=tuple(change for change, _ in changes),
        drift=tuple(_drift(shown.get("resource_drift", ()), changes)),
        outputs=tuple(
            name
            for name, output in shown.get("output_changes", {}).items()
            if output["actions"] != ["no-op"]
        ),
        moved={
            entry["address"]: entry["previous_address"]
            # A plan that only refreshes lists them as drift.
            for entry in (*shown.get("resource_changes", ()), *shown.get("resource_drift", ()))
            if "previous_address" in entry
        },
    )


def to_build_again(shown: Mapping[str, Any]) -> list[str]:
    """Return the addresses to replace, so that functions that do not run the deployed code are
    built again; empty if the plan changes every such function anyway.

    Terraform notes new code as deployed also if its update failed.
    """
    changes = shown.get("resource_changes", ())
    return [_BUILD] if any(_keeps_earlier_code(entry) for entry in changes) else []


def held_channel(shown: Mapping[str, Any]) -> HeldChannel | None:
    """Return the notification channel that a plan deletes although alert policies still name it.

    Google refuses to delete a channel that policies name, and Terraform changes the policies later.
    ``force_delete`` helps only if an earlier deployment has set it.
    """
    for entry in shown.get("resource_changes", ()):
        before = entry["change"]["before"]
        if (
            entry["type"] == "google_monitoring_notification_channel"
            and _ACTIONS.get(tuple(entry["change"]["actions"])) == DELETE
            and not before["force_delete"]
        ):
            return HeldChannel(entry["address"], before["labels"]["email_address"])
    return None


def _keeps_earlier_code(entry: _Entry) -> bool:
    """Return whether the last update of a function failed, and the plan does not repeat it."""
    actions, before, after = (entry["change"][each] for each in ("actions", "before", "after"))
    if entry["type"] == "google_cloudfunctions2_function" and actions in (["no-op"], ["update"]):
        is_built_again = after.get("build_config") != before.get("build_config")
        return bool(before["state"] == "FAILED" and not is_built_again)
    if entry["type"] == "aws_lambda_function" and actions in (["no-op"], ["update"]):
        noted = before["source_code_hash"] or ""  # null in a state that an import made
        # After the digest comes the time for which the code was built again; see functions.tf.
        digest = noted.partition(" ")[0]
        return bool(
            (after.get("source_code_hash") or "") == noted and before["code_sha256"] != digest
        )
    return False


def change(
    address: str, kind: str, action: ChangeAction, name: str, changed: tuple[str, ...] = ()
) -> Change:
    """Return a change, with the data lost by it; ``name`` is the cloud's name of the resource."""
    what, _ = _STORES.get(kind, ("", ""))
    if action not in (REPLACE, DELETE) or address in _REBUILT:
        what = ""
    return Change(address, kind, action, name=name if what else "", changed=changed, holds=what)


def unconfirmed(plan: StackPlan, stack: str, confirmed: Collection[str]) -> tuple[Change, ...]:
    """Return the changes that would lose data and are not confirmed.

    A change is confirmed by the name of its resource, and all changes by the name of the stack.
    """
    if stack in confirmed:
        return ()
    return tuple(change for change in plan.at_risk if change.name not in confirmed)


def check_protection(plan: StackPlan) -> None:
    """Check that a deployment plan deletes nothing that is protected from deletion.

    The cloud would refuse it in the middle, when much of the stack is gone.

    Raises:
        McloudError: it does.
    """
    found = [change.address for change in plan.changes if change.protected]
    if found:
        raise McloudError(
            f"the plan would delete or replace {', '.join(found)}, protected from deletion; nothing"
            " was changed",
            remedy=UNPROTECT,
        )


def exceeding(plan: StackPlan, confirmed: StackPlan) -> tuple[Change, ...]:
    """Return the changes of a plan that go beyond a confirmed one.

    A resource that the confirmed plan creates may also be changed in place, or replaced if its
    creation was not completed.
    """
    actions = {change.address: change.action for change in confirmed.changes}
    return tuple(
        change
        for change in plan.changes
        if change.action not in _WITHIN.get(actions.get(change.address, ""), ())
        and not (change.unfinished and actions.get(change.address) in (CREATE, REPLACE))
    )


# The actions that a confirmed action includes.
_WITHIN = {
    CREATE: (CREATE, UPDATE),
    UPDATE: (UPDATE,),
    REPLACE: (CREATE, UPDATE, REPLACE, DELETE),
    DELETE: (DELETE,),
}


def _changes(entries: Iterable[_Entry]) -> Iterator[tuple[Change, _Entry]]:
    for entry in entries:
        action = _ACTIONS.get(tuple(entry["change"]["actions"]))
        if action is not None and entry.get("mode") != "data":
            yield _change(entry, action), entry


def _drift(entries: Iterable[_Entry], changes: Iterable[tuple[Change, _Entry]]) -> Iterator[Change]:
    """Yield the drift that the plan reverts.

    Terraform also lists values that it only learned, such as an empty list in place of none.
    """
    undone = {change.address: (change, entry["change"]) for change, entry in changes}
    for change, entry in _changes(entries):
        if change.address not in undone:
            continue
        undoing, how = undone[change.address]
        if change.action == DELETE and undoing.action == CREATE:
            yield replace(change, holds="", protected=False)
        elif change.action == UPDATE and not undoing.unfinished:
            both = _changed(entry["change"]).keys() & _changed(how).keys()
            words = _changed(entry["change"])
            if both:
                yield replace(change, changed=tuple(words[name] for name in sorted(both)))


def _change(entry: _Entry, action: ChangeAction) -> Change:
    how = entry["change"]
    before = how.get("before") or {}
    _, naming = _STORES.get(entry["type"], ("", ""))
    found = replace(
        change(
            entry["address"],
            entry["type"],
            action,
            str(before.get(naming, "")),
            tuple(_changed(how).values()) if action in (UPDATE, REPLACE) else (),
        ),
        because=tuple(_path(path) for path in how.get("replace_paths", ())),
        protected=action in (REPLACE, DELETE) and _protected(before),
    )
    if entry.get("action_reason") == "replace_by_request":
        return replace(found, asked=True)
    if entry.get("action_reason") == "replace_because_tainted":
        return replace(found, unfinished=True, changed=(), name="", holds="", protected=False)
    return found


def _protected(before: Mapping[str, Any]) -> bool:
    return (
        before.get("deletion_protection_enabled") is True
        or before.get("delete_protection_state") == "DELETE_PROTECTION_ENABLED"
        or before.get("force_destroy") is False
    )


def _changed(change: _Entry) -> dict[str, str]:
    """Return a description of each attribute that changes, by name."""
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = change.get("after_unknown") or {}
    found = {}
    for name in sorted({*before, *after, *unknown}):
        old, new = before.get(name), after.get(name)
        opaque = bool(unknown.get(name)) and new is None
        if old == new and not opaque:
            continue
        if any(_hides(change.get(side), name) for side in ("before_sensitive", "after_sensitive")):
            found[name] = f"{name} {HIDDEN}"
        elif not opaque and _is_short(old) and _is_short(new):
            found[name] = f"{name} {_shown(old)} → {_shown(new)}"
        else:
            found[name] = name
    return found


def _hides(marks: Any, name: str) -> bool:
    """Return whether an attribute contains anything sensitive."""
    if isinstance(marks, Mapping):
        return _any(marks.get(name, False))
    return bool(marks)


def _any(marks: Any) -> bool:
    if isinstance(marks, Mapping):
        return any(map(_any, marks.values()))
    if isinstance(marks, list):
        return any(map(_any, marks))
    return bool(marks)


def _is_short(value: Any) -> bool:
    return value is None or (isinstance(value, str | int | float) and len(_shown(value)) <= _SHORT)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _path(steps: list[Any]) -> str:
    """Return a path as text, such as ``attribute[0].name``."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
