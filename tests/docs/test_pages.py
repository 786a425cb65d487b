"""The commands, settings and links on the pages work."""

import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from mcloud.alerts.rules import rules
from mcloud.config import load, settings
from mcloud.config.produce import ProduceSettings
from mcloud.cost.settings import money
from mcloud.failover.settings import guard_settings
from mcloud.market.anomaly import Thresholds
from mcloud.notify.channels import channels
from mcloud.observing.queries import MonitorSettings
from mcloud.producer.message_log import TraceSettings

from .command_line import ROOT as MCLOUD
from .command_line import check, simple_commands, unknown_words
from .pages import DOCS, README, ROOT, Block, anchors, blocks, inline_code, links, pages

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MARKS = [each.partition(":")[0] for each in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]]
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
OTHERS = {
    "aws",
    "cd",
    "curl",
    "export",
    "gcloud",
    "git",
    "gh",
    "openssl",
    "pre-commit",
    "python",
    "zensical",
}
"""Programs that the pages use and that are not mcloud's own."""


def where(value: object) -> str:
    return value.where if isinstance(value, Block) else str(value)


@pytest.mark.parametrize("block", blocks("bash"), ids=where)
def test_commands_can_be_run(block: Block) -> None:
    for words in simple_commands(block.text):
        match words:
            case ["mcloud", *_]:
                check(words)
            case ["pip", "install", what, *_]:
                assert what.startswith(".[")
                assert set(what[2:-1].split(",")) <= set(EXTRAS)
            case ["pytest", *options]:
                used = [mark for flag, mark in pairwise(options) if flag == "-m"]
                assert set(used) <= set(MARKS)
                paths = [each for each in options if each.startswith("tests")]
                assert all((ROOT / each).exists() for each in paths)
            case ["just", recipe, *_]:
                assert f"\n{recipe}" in (ROOT / "justfile").read_text()
            case [program, *_] if program.startswith("."):
                assert (ROOT / program).exists()
            case [program, *_]:
                assert program in OTHERS


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_a_sentence_exist(page: Path) -> None:
    mentions = [text for text in inline_code(page) if text.startswith("mcloud ")]
    assert {text: unknown_words(text) for text in mentions if unknown_words(text)} == {}


def test_variables_exist() -> None:
    named = {each for page in pages() for each in re.findall(r"MCLOUD_[A-Z_]+", page.read_text())}
    code = "".join(
        path.read_text() for folder in ("mcloud", "tests") for path in (ROOT / folder).rglob("*.py")
    )
    assert {each for each in named if each not in code} == set()


@pytest.mark.parametrize("block", blocks("toml"), ids=where)
def test_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    text = block.text
    if "[channels." not in text:  # a rule names channels, which another page defines
        text += '\n[channels.oncall]\ntype = "webhook"\nurl_env = "X"\n'
    if "[profiles." not in text:  # a site's budget needs the site
        text += '\n[profiles.prod.sites.aws]\ncloud = "aws"\n'
    (tmp_path / "mcloud.toml").write_text(text)
    config = load("prod", tmp_path, {})
    guard_settings(config)
    money(config)
    channels(config)
    rules(config)
    settings(config, "monitor", MonitorSettings)
    settings(config, "produce", ProduceSettings)
    settings(config, "trace", TraceSettings)
    settings(config, "anomalies", Thresholds)


@pytest.mark.parametrize("block", blocks("json"), ids=where)
def test_json_can_be_read(block: Block) -> None:
    for line in block.text.splitlines() if block.title else [block.text]:
        json.loads(line)


@pytest.mark.parametrize("block", blocks("yaml"), ids=where)
def test_yaml_can_be_read(block: Block) -> None:
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load(block.text), dict)


def test_every_block_has_a_language_that_is_tested() -> None:
    tested = {"bash", "sql", "toml", "json", "yaml", "text", "mermaid", "python"}
    assert [block.where for block in blocks() if block.language not in tested] == []


def test_every_fence_opens_or_closes_a_block() -> None:
    """Python-Markdown shows a block as plain text if there are other words behind its language."""
    for page in pages():
        fences = re.findall(r"^```", page.read_text("utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len([block for block in blocks() if block.page == page]), page


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
        # A page of the site cannot link to a file that is not part of the site.
        if page != README and not target.is_relative_to(DOCS):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_site() -> None:
    listed = (ROOT / "zensical.toml").read_text()
    missing = [
        str(page.relative_to(DOCS))
        for page in pages()
        if page != README and f'"{page.relative_to(DOCS)}"' not in listed
    ]
    assert missing == []


def test_a_wrong_command_is_found() -> None:
    """The checks above can fail."""
    for wrong in ("mcloud verfy", "mcloud verify --repare", "mcloud trace", "mcloud ps a b"):
        with pytest.raises(Exception, match=r".+"):
            check(wrong.split())
    assert unknown_words("mcloud verify --repare") == ["--repare"]
    assert unknown_words("mcloud guard explian") == ["explian"]
    assert unknown_words("mcloud local up --ports auto") == []
    assert "verify" in MCLOUD.commands
