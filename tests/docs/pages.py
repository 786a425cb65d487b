"""The pages of the documentation: README.md and docs/**/*.md, with their links and code blocks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^```(?P<language>[^\n` ]*)(?: title=\"(?P<title>[a-z-]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks of all pages in the given languages, or all code blocks."""
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["title"] or "",
            found["text"],
        )
        for page in pages()
        for text in [page.read_text("utf-8")]
        for found in _BLOCK.finditer(text)
        if not languages or found["language"] in languages
    ]


def prose(page: Path) -> str:
    """Return the text of a page without code blocks and comments, with the same line numbers."""

    def blank(found: re.Match[str]) -> str:
        return "\n" * found[0].count("\n")

    return _COMMENT.sub(blank, _BLOCK.sub(blank, page.read_text("utf-8")))


def inline_code(page: Path) -> Iterator[str]:
    for found in _INLINE.finditer(prose(page)):
        yield " ".join(found[1].split())


def links(page: Path) -> Iterator[str]:
    for found in _LINK.finditer(_INLINE.sub("", prose(page))):
        yield found[1]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and Python-Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\s-]", "", heading.replace("`", "").strip().lower())
    return re.sub(r"\s", "-", words)
