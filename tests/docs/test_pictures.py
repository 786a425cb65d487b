"""The outputs on the pages are those of the commands. ``MCLOUD_UPDATE=1`` draws them again."""

import os

import pytest

from .pages import Block, blocks
from .pictures import PICTURES, text

SHOWN = [block for block in blocks("text") if block.title in PICTURES]
ELSEWHERE = {"key", "block-key", "index-key", "staged-key"}
"""Titles of blocks that ``tests/market/test_formats.py`` checks."""


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"{block.title} {block.where}")
def test_a_page_shows_what_the_command_prints(block: Block) -> None:
    drawn = text(PICTURES[block.title]())
    if os.environ.get("MCLOUD_UPDATE"):
        page = block.page.read_text("utf-8")
        fence = f'```text title="{block.title}"\n'
        page = page.replace(f"{fence}{block.text}```", f"{fence}{drawn}```")
        block.page.write_text(page, "utf-8")
        return
    assert block.text == drawn


def test_every_text_block_is_checked() -> None:
    names = {block.title for block in SHOWN}
    assert names == set(PICTURES)
    unchecked = [
        block.where
        for block in blocks("text")
        if block.title not in ELSEWHERE | set(PICTURES)
        and block.page.name != "commands.md"  # generated; see test_reference
    ]
    assert unchecked == []
