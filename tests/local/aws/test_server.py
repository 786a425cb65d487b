"""The embedded AWS fits the ministack that is installed."""

import pytest
from ministack.services import lambda_svc

from mcloud.local.aws import server


def test_finds_what_it_reaches_for() -> None:
    assert server.lacking() == []


def test_says_what_another_version_is_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lambda_svc, "_poll_sqs")
    monkeypatch.setattr("sys.argv", ["server", "--home", "/nowhere"])
    with pytest.raises(SystemExit, match=r"has no ministack\.services\.lambda_svc\._poll_sqs: "):
        server.main()
