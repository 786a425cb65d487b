"""The embedded AWS fits the ministack that is installed."""

import pytest
from ministack.services import lambda_svc

from mcloud.local.aws import server


def test_the_installed_ministack_has_all_used_names() -> None:
    assert server.lacking() == []


def test_missing_names_of_another_version_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lambda_svc, "_poll_sqs")
    monkeypatch.setattr("sys.argv", ["server", "--home", "/nowhere"])
    with pytest.raises(SystemExit, match=r"has no ministack\.services\.lambda_svc\._poll_sqs: "):
        server.main()
