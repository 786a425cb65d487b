"""The outputs on the pages are those of the commands. ``MCLOUD_UPDATE=1`` draws them again."""

import os

import pytest

from .pages import Block, blocks
from .pictures import PICTURES, text

SHOWN = [block for block in blocks("text") if block.kind.partition(" ")[2] in PICTURES]
ELSEWHERE = {"key", "block-key", "index-key"}
"""Kinds of blocks that ``tests/market/test_formats.py`` checks."""


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"{block.kind} {block.where}")
def test_a_page_shows_what_the_command_prints(block: Block) -> None:
    drawn = text(PICTURES[block.kind.partition(" ")[2]]())
    if os.environ.get("MCLOUD_UPDATE"):
        page = block.page.read_text("utf-8")
        before, after = f"```{block.kind}\n{block.text}```", f"```{block.kind}\n{drawn}```"
        block.page.write_text(page.replace(before, after), "utf-8")
        return
    assert block.text == drawn


def test_every_text_block_is_checked() -> None:
    names = {block.kind.partition(" ")[2] for block in SHOWN}
    assert names == set(PICTURES)
    unchecked = [
        block.where
        for block in blocks("text")
        if block.kind.partition(" ")[2] not in ELSEWHERE | set(PICTURES)
        and block.page.name != "commands.md"  # generated; see test_reference
    ]
    assert unchecked == []
