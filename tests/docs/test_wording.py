"""Phrases that must not come back: they are no usual English, or make a reader work.

The pages, the help texts and the docstrings have none of them. To add a phrase, add it to
``PHRASES`` with a better one, and rewrite what the tests then find.
"""

import ast
import re
from collections.abc import Iterator

from .command_line import ROOT as MCLOUD
from .command_line import leaves
from .pages import README, ROOT, pages, prose

PHRASES = {
    r"(is|are|was|were|be|been|being) told": "is reported, is notified",
    r"for long": "for a while, recently",
    r"of itself": "about itself",
    r"so many": "the number itself",
    r"go(es)? on": "continues, resumes",
    r"mend(s|ed|ing)?": "fix, repair",
    r"in vain": "without success",
    r"owe[ds]?": "needs a catch-up",
    r"is there already": "already exists",
    r"is not there": "is missing",
    r"lets? go of": "releases",
    r"that much": "the amount itself",
    r"say (less|more)": "show errors only, show more detail",
    r"what is what": "say it",
    r"ends? in order": "stops as on Ctrl-C",
    r"of its own accord": "automatically",
    r"by and by": "gradually",
    r"as many as come": "the number itself",
    r"do not ask\.": "skip the confirmation prompt",
    r"mischief": "faults",
    r"is owed": "needs a catch-up",
    r"takes it from there": "continues",
}
OPENINGS = r"(What|Where|Whose|Whom|Of|As|Than|How|True where|None where)\b"
"""A docstring that opens with one of these has no subject or no verb."""

_ANY = re.compile(rf"\b({'|'.join(PHRASES)})(?!\w)", re.IGNORECASE)


def found_in(text: str) -> list[str]:
    return [found[0] for found in _ANY.finditer(" ".join(text.split()))]


def test_the_pages_have_none() -> None:
    texts = {page: prose(page) for page in [*pages(), README.with_name("CHANGELOG.md")]}
    assert {str(page): found_in(text) for page, text in texts.items() if found_in(text)} == {}


def test_the_help_has_none() -> None:
    texts = {}
    for name, command in leaves("mcloud", MCLOUD):
        for what in [command, *command.params]:
            texts[f"{name} {getattr(what, 'name', '')}"] = getattr(what, "help", "") or ""
    assert len(texts) > 200
    assert {where: found_in(text) for where, text in texts.items() if found_in(text)} == {}


def test_the_docstrings_have_none() -> None:
    found = [place for place, text in docstrings() if re.match(OPENINGS, text) or found_in(text)]
    assert found == []


def test_each_phrase_is_found() -> None:
    assert found_in("What the queue\nis told goes on.") == ["is told", "goes on"]
    assert found_in("It tolerates a going concern; amend it; bestowed.") == []


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each docstring of mcloud and of the functions."""
    for path in sorted([*(ROOT / "mcloud").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            body = getattr(node, "body", None)
            for each in body if isinstance(body, list) else ():
                match each:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield f"{path.relative_to(ROOT)}:{each.lineno}", text.strip()
