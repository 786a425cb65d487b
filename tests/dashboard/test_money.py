"""What each site costs, by one look at all of them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.config import load
from mcloud.cost.current import CostFigure as AllCosts
from mcloud.dashboard import money
from mcloud.dashboard.snapshot import CostFigure
from mcloud.errors import McloudError


def test_each_site_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = AllCosts(
        *(Decimal(3), Decimal(1), Decimal(9), None, 7.0, "metered"),
        by_site={"aws": Decimal(1), "gcp": Decimal(2)},
        per_hour_by_site={"aws": Decimal("0.5")},
    )
    monkeypatch.setattr(money, "current", lambda config, sites: figure)
    sites: Any = {"aws": None, "gcp": None, "more": None}
    cost = money.site_costs(load(None, tmp_path, {}), sites)
    assert cost("aws") == CostFigure(Decimal(1), Decimal("0.5"), 7.0, "metered")
    assert cost("gcp") == CostFigure(Decimal(2), None, 7.0, "metered")
    with pytest.raises(McloudError, match="metered"):
        cost("more")
