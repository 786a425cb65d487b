"""The content of a state, and how a lost state is detected."""

import json
from pathlib import Path
from typing import Any

import pytest

from mcloud.infra.state import Remnant, find_object, parse_state, remnants
from mcloud.removed import set_aside

STATE: dict[str, Any] = {
    "version": 4,
    "serial": 7,
    "lineage": "a99eddd8",
    "outputs": {"topic": {"value": "t"}, "token": {"value": "s", "sensitive": True}},
    "resources": [
        {"mode": "data", "type": "google_project", "name": "this", "instances": [{}]},
        {"mode": "managed", "type": "a", "name": "plain", "instances": [{}]},
        {"mode": "managed", "type": "a", "name": "gone", "instances": []},
        {
            "mode": "managed",
            "module": "module.m",
            "type": "a",
            "name": "many",
            "instances": [{"index_key": 0}, {"index_key": "key"}],
        },
    ],
}
EMPTY = {**STATE, "resources": []}


def test_addresses_are_those_that_terraform_prints() -> None:
    state = parse_state(json.dumps(STATE, indent=2))
    assert state is not None
    assert (state.lineage, state.serial, dict(state.outputs)) == ("a99eddd8", 7, {"topic": "t"})
    assert state.addresses == {"a.plain", "module.m.a.many[0]", 'module.m.a.many["key"]'}


@pytest.mark.parametrize("text", ["", "\n", "tfenv: using 1.11.4\n", '{"lineage": ""}'])
def test_output_without_a_state_is_recognized(text: str) -> None:
    assert parse_state(text) is None


@pytest.mark.parametrize("before", ["", "tfenv: using {1.11.4}\n", '{"level": "info"}\n', "[t] "])
@pytest.mark.parametrize("after", ["", "\nA new version is available {1.12}\n", "}{"])
def test_lines_of_a_wrapper_are_skipped(before: str, after: str) -> None:
    assert find_object(f"{before}{json.dumps(STATE, indent=1)}{after}", "lineage") == STATE


def test_files_that_hold_resources_are_found_the_fullest_first(tmp_path: Path) -> None:
    def put(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    put("terraform.tfstate", json.dumps(STATE))
    put("terraform.tfstate.1.backup", "")
    put("errored.tfstate", json.dumps(EMPTY))
    backup = put("terraform.tfstate.backup", json.dumps(STATE))
    other = put("terraform.tfstate.d/dev/terraform.tfstate", json.dumps(STATE))
    secret = put("terraform.tfstate.2.backup", json.dumps({"encrypted_data": "x"}))
    cut = put("terraform.tfstate.3.backup", json.dumps(STATE)[:40])
    holding = [Remnant(backup, 3), Remnant(other, 3)]
    unknown = [Remnant(secret, None), Remnant(cut, None)]
    assert remnants(tmp_path, is_remote=False) == [*holding, *unknown]
    local = Remnant(tmp_path / "terraform.tfstate", 3)
    assert local in remnants(tmp_path, is_remote=True)
    assert str(unknown[0]) == f"{secret} may hold some"


def test_files_that_were_set_aside_are_all_kept(tmp_path: Path) -> None:
    def once(content: str) -> Path:
        things = {"terraform": tmp_path / "site", "outputs.json": tmp_path / "site.json"}
        (things["terraform"] / ".terraform" / "providers" / "big").mkdir(parents=True)
        (things["terraform"] / "terraform.tfstate").write_text(content)
        aside = set_aside(tmp_path / ".mcloud", "prod", "gcp", things)
        assert aside is not None
        assert not things["terraform"].exists()
        return aside

    asides = [once("1"), once("2"), once("3")]
    assert len(set(asides)) == 3
    assert [(each / "terraform/terraform.tfstate").read_text() for each in asides] == list("123")
    assert not list(tmp_path.rglob("providers"))
    assert all(each.stat().st_mode & 0o077 == 0 for each in asides)
    assert set_aside(tmp_path, "prod", "gcp", {"x": tmp_path / "none"}) is None
