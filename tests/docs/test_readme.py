"""The README is short, and begins with the two commands that a newcomer needs."""

from .pages import README, blocks


def test_the_first_two_commands_are_the_ones_that_newcomers_need() -> None:
    own = [block.text.strip() for block in blocks("bash") if block.page == README]
    assert own[:2] == [
        "pip install '.[local]' && mcloud demo",
        "pip install '.[dev]' && pytest",
    ]


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 125
