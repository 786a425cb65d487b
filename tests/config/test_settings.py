"""Tables of mcloud.toml that a part of mcloud reads as its own dataclass."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mcloud.config import chosen, load, setting, settings
from mcloud.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Guard:
    interval: float = setting(2.0, least=0.5, most=60)
    bad: int = setting(3, least=1)
    sites: tuple[str, ...] = setting(())
    mode: str = setting("act", one_of=("act", "tell"))
    back: bool = setting(False)
    note: str | None = setting(None)


def read(folder: Path, text: str) -> Guard:
    (folder / "mcloud.toml").write_text(text)
    return settings(load(None, folder, {}), "guard", Guard)


def test_defaults_without_a_file(tmp_path: Path) -> None:
    assert settings(load(None, tmp_path, {}), "guard", Guard) == Guard()


def test_values_are_read_by_type(tmp_path: Path) -> None:
    text = """[guard]
interval = 1
bad = 2
sites = ["aws", "gcp"]
mode = "tell"
back = true
note = "x"
"""
    assert read(tmp_path, text) == Guard(1.0, 2, ("aws", "gcp"), "tell", True, "x")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("intervall = 1", "unknown key 'intervall' in [guard]; did you mean 'interval'?"),
        ('interval = "1"', "guard.interval must be a number, not '1'"),
        ("interval = true", "guard.interval must be a number, not True"),
        ("interval = 0.4", "guard.interval must be 0.5 or more, not 0.4"),
        ("interval = 61", "guard.interval must be 60 or less, not 61.0"),
        ("interval = nan", "guard.interval must be a finite number, not nan"),
        ("bad = 1.5", "guard.bad must be a whole number, not 1.5"),
        ("sites = [1]", "guard.sites must be a list of texts, not [1]"),
        ('mode = "dance"', "guard.mode must be one of act, tell, not 'dance'"),
        ("back = 1", "guard.back must be true or false, not 1"),
        ("note = 1", "guard.note must be a text, not 1"),
        ("[guard.bad]", "guard.bad must be a whole number, not a table"),
    ],
)
def test_an_invalid_setting_is_reported_with_its_line(
    tmp_path: Path, line: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"\n[guard]\n{line}\n")
    assert words in str(caught.value)
    assert "mcloud.toml:3: " in str(caught.value)


def test_a_table_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"toml:1: guard must be a table"):
        read(tmp_path, "guard = 1")


def test_a_text_is_one_of_the_known_names_or_refused() -> None:
    modes = ("both", "primary")
    assert chosen("mode", "both", modes) == "both"
    with pytest.raises(UsageError) as caught:
        chosen("mode", "bth", modes)
    assert str(caught.value) == (
        "unknown mode 'bth'; choose from both, primary; did you mean 'both'?"
    )
    with pytest.raises(UsageError, match=f"'{'x' * 99}; choose from both, primary$"):
        chosen("mode", "x" * 1000, modes)
