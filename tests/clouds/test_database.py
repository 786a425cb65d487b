"""Facts about a Firestore database."""

import pytest

from mcloud.clouds.gcp.database import has_free_tier
from mcloud.errors import Refused

from .web import Answer, anonymous, google_error, serve


@pytest.mark.parametrize(("said", "is_free"), [({"freeTier": True}, True), ({}, False)])
def test_the_database_says_whether_it_has_the_free_tier(
    said: dict[str, bool], is_free: bool
) -> None:
    def answer(method: str, path: str) -> Answer:
        assert (method, path) == ("GET", "/v1/projects/desk/databases/(default)")
        return 200, said

    with serve(answer) as url:
        assert has_free_tier(anonymous(), "desk", "(default)", url) is is_free


def test_a_refusal_names_firestore() -> None:
    with (
        serve(lambda method, path: google_error(403, "no")) as url,
        pytest.raises(Refused, match="Firestore: no"),
    ):
        has_free_tier(anonymous(), "desk", "mcloud", url)
