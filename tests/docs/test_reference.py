"""The reference pages are generated from the code. ``MCLOUD_UPDATE=1`` writes them again."""

import os
from collections.abc import Callable
from dataclasses import fields

import pytest

from mcloud.cli.app import COMMANDS
from mcloud.config import schema

from . import reference
from .command_line import ROOT as MCLOUD
from .pages import DOCS

BEGIN, END = "<!-- generated:", "<!-- end of generated -->"


@pytest.mark.parametrize(
    ("page", "generate"),
    [("commands.md", reference.commands), ("settings.md", reference.settings)],
    ids=["commands", "settings"],
)
def test_the_page_is_up_to_date(page: str, generate: Callable[[], str]) -> None:
    path = DOCS / "reference" / page
    text = path.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    note, _, rest = rest.partition("-->\n")
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}{note}-->\n\n{generate()}\n{END}{tail}"
    if os.environ.get("MCLOUD_UPDATE"):
        path.write_text(wanted, "utf-8")
    assert path.read_text("utf-8") == wanted


def test_the_list_of_commands_has_the_first_line_of_each_help() -> None:
    assert {name: reference.first_line(each) for name, each in MCLOUD.commands.items()} == COMMANDS


def test_every_table_of_the_file_is_on_the_page() -> None:
    named = " ".join(reference.TABLES)
    assert [table for table in schema.TABLES if f"[{table}" not in named] == []


@pytest.mark.parametrize("kind", [*reference.TABLES.values(), *reference.SITES.values()])
def test_every_setting_has_a_description(kind: type) -> None:
    described = reference.documents(kind)
    assert [each.name for each in fields(kind) if each.name not in described] == []


@pytest.mark.parametrize("cloud", reference.SITES)
def test_every_variable_has_a_description(cloud: str) -> None:
    path = DOCS.parent / "terraform" / cloud / "variables.tf"
    found = list(reference.variables(path))
    assert len(found) == path.read_text().count('\nvariable "') + path.read_text().startswith(
        'variable "'
    )
    assert [name for name, _, text in found if not text] == []
