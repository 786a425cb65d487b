"""Terraform's variables, from the settings of a site and the tables of mcloud.toml."""

import json
from pathlib import Path

import pytest

from mcloud.config import load
from mcloud.infra.state_errors import VARIABLES
from mcloud.infra.workspace import Workspace


@pytest.mark.parametrize(
    ("more", "freshness"),
    [("", 5), ("[produce]\nfreshness = 60\n", 60), ("[produce]\nfreshness = 0\n", 0)],
)
def test_a_site_is_deployed_for_the_freshness_of_producers(
    tmp_path: Path, more: str, freshness: float
) -> None:
    (tmp_path / "mcloud.toml").write_text(
        '[profiles.prod.sites.aws]\ncloud = "aws"\n'
        '[profiles.prod.sites.west]\ncloud = "aws"\nvariables = { freshness = 20 }\n'
        '[profiles.prod.sites.gcp]\ncloud = "gcp"\nproject = "my-project"\n' + more
    )
    config = load("prod", tmp_path, {})
    found = {}
    for name, site in config.sites.items():
        workspace = Workspace(config, site)
        with workspace.locked():
            workspace.write()
        found[name] = json.loads((workspace.folder / VARIABLES).read_text()).get("freshness")
    assert found == {"aws": freshness, "west": 20, "gcp": None}
