"""Every request in the table is refused for its own reason, and accepted without its fault."""

import copy

import pytest

from .documents import read
from .google import Google, Request
from .names import Json
from .wrong import WORLD, WRONG, Described, Wrong

RULES = [pytest.param(wrong, id=wrong.rule) for wrong in WRONG]


def send(google: Google, *requests: Request) -> None:
    for request in requests:
        status, answer = google.answer(request)
        assert status == 200, (request, answer)


@pytest.mark.parametrize("wrong", RULES)
def test_a_wrong_request_is_refused_and_the_corrected_one_accepted(wrong: Wrong) -> None:
    google, now = Google(), 0.0
    google.settings.clock = lambda: now
    send(google, *WORLD, *wrong.before)
    before = copy.deepcopy(google.cloud.store)
    status, answer = google.answer(wrong.wrong)
    error = answer["error"]
    assert (status, error["status"]) == (wrong.status, wrong.reason), error
    assert wrong.says in error["message"]
    assert "Invalid request for" not in error["message"]  # what the documents say themselves
    assert google.cloud.store == before
    now += wrong.wait
    send(google, wrong.right)


DESCRIBED = [
    pytest.param(wrong.source, id=wrong.rule)
    for wrong in WRONG
    if isinstance(wrong.source, Described)
]


@pytest.mark.parametrize("source", DESCRIBED)
def test_googles_description_states_the_rule(source: Described) -> None:
    api, _, version = source.document.partition(".")
    document = read(api, version)
    assert document
    method, _, parameter = source.where.partition(":")
    schema, _, field = source.where.partition(".")
    if schema in document.schemas:
        found: Json = document.properties(schema)[field]
    else:
        (found,) = (each.description for each in document.methods if each.id == method)
        found = found["parameters"][parameter] if parameter else found
    assert source.text in found["description"]


def test_each_rule_is_listed_once() -> None:
    rules = [wrong.rule for wrong in WRONG]
    assert len(set(rules)) == len(rules)
    assert all(isinstance(w.source, Described) or w.source.startswith("https://") for w in WRONG)
