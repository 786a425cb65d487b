"""``[cost]``, and errors in it with their lines."""

from decimal import Decimal
from pathlib import Path

import pytest

from mcloud.config import load
from mcloud.cost.settings import CostSettings, Money, money
from mcloud.errors import ConfigError

PROD = """
[profiles.prod.sites.aws-west]
cloud = "aws"
"""


def read(folder: Path, text: str, profile: str | None = None) -> Money:
    (folder / "mcloud.toml").write_text(text)
    return money(load(profile, folder, {}))


def test_settings_have_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert found.settings == CostSettings()
    assert found.settings.free_tier
    assert found.budget is None


def test_budgets_of_sites_are_read_and_added(tmp_path: Path) -> None:
    text = "[cost]\nfree_tier = false\n[cost.budgets]\naws = 15\ngcp = 4.5\naws-west = 1\n" + PROD
    found = read(tmp_path, text)
    assert found.budgets == {"aws": 15, "gcp": Decimal("4.5")}
    assert found.budget == Decimal("19.5")
    assert not found.settings.free_tier
    assert read(tmp_path, text, "prod").budgets == {"aws-west": 1}
    both = read(tmp_path, "[cost]\nbudget_usd = 20\n[cost.budgets]\naws = 15\n")
    assert both.budget == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cost]\nbudgets = 3", "2: cost.budgets must be a table"),
        ("[cost]\nbudget = 3", "2: unknown key 'budget' in \\[cost\\]; did you mean 'budget_usd'"),
        ("[cost]\nbudget_usd = 0", "2: cost.budget_usd must be 0.01 or more"),
        ("[cost]\nbilled_hours = 0.1", "2: cost.billed_hours must be 1 or more"),
        ("[cost.budgets]\nazure = 3", "2: unknown key 'azure' in \\[cost.budgets\\]"),
        ("[cost.budgets]\naws = 'x'", "2: cost.budgets.aws must be a number"),
        ("[cost.budgets]\naws = -1", "2: cost.budgets.aws must be 0.01 or more"),
        ("[cost.budgets]\naws = nan", "2: cost.budgets.aws must be a finite number"),
        ("[cost.budgets]\naws = true", "2: cost.budgets.aws must be a number"),
    ],
)
def test_invalid_settings_are_reported(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)
