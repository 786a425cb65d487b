"""The target of a silence."""

from pathlib import Path
from typing import Any

import pytest
from failover.sites import LiveSite

from mcloud.alerts.rules import rules
from mcloud.alerts.silence_target import target_of
from mcloud.clouds.ports import Heartbeat
from mcloud.config import current
from mcloud.errors import Unavailable, UsageError


@pytest.mark.parametrize(
    ("target", "of", "found"),
    [
        ("service-down", None, ("rule", "service-down")),
        ("service-down", "aws", ("rule", "service-down")),
        ("guard-lost", None, ("rule", "guard-lost")),
        ("aws", None, ("site", "aws")),
        ("BTCUSDT", None, ("symbol", "BTCUSDT")),
        ("btcusdt", None, ("symbol", "BTCUSDT")),
        ("ETHUSDT", None, "unknown rule, site or symbol 'ETHUSDT'"),
        ("gcb", None, "unknown rule, site or symbol 'gcb'; did you mean 'gcp'?"),
        ("", None, "unknown rule, site or symbol ''; see `mcloud alerts list`"),
        (
            "aws",
            "dead-letters",
            "'dead-letters' can only follow the name of a rule, and 'aws' is not a rule",
        ),
        ("guard-paused", "gcp", "the rule guard-paused has a single figure; omit 'gcp'"),
    ],
)
def test_the_target_of_a_silence_is_a_rule_a_site_or_a_symbol(
    target: str,
    of: str | None,
    found: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    sites: Any = {name: LiveSite(name) for name in ("aws", "gcp")}
    sites["gcp"].control.beat([Heartbeat("BTCUSDT", 1, 1, 1, 1.0)])
    sites["aws"].control.heartbeats = refuse  # one site is enough
    if isinstance(found, tuple):
        assert target_of(target, of, rules(current()), sites) == found
        return
    with pytest.raises(UsageError) as caught:
        target_of(target, of, rules(current()), sites)
    assert found in str(caught.value)


def refuse() -> Any:
    raise Unavailable("away")
