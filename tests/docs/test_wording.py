"""Phrases that must not come back: they are no usual English, or make a reader work.

The pages and the help texts have none of them. Docstrings of the code are counted room by room: a
room that has none left is not listed in ``LEFT``, and no number there may grow. To add a phrase,
add it to ``PHRASES`` with a better one, and rewrite what the tests then find.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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

LEFT: dict[str, tuple[int, int]] = {
    "alerts": (0, 2),
    "infra": (0, 4),
    "proxies": (0, 1),
}
"""Docstrings of a room that open so, and phrases in its docstrings, that are still to rewrite."""

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


def test_docstrings_get_better() -> None:
    opened: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    where: dict[str, list[str]] = {}
    for room, line, text in docstrings():
        opens = bool(re.match(OPENINGS, text))
        opened[room] += opens
        phrases[room] += len(found_in(text))
        if opens or found_in(text):
            where.setdefault(room, []).append(line)
    for room in opened | phrases:
        allowed = LEFT.get(room, (0, 0))
        counted = (opened[room], phrases[room])
        assert all(n <= most for n, most in zip(counted, allowed, strict=True)), (
            f"{room} has {counted} and may have {allowed}; see " + ", ".join(where[room])
        )


def test_each_phrase_is_found() -> None:
    assert found_in("What the queue\nis told goes on.") == ["is told", "goes on"]
    assert found_in("It tolerates a going concern; amend it; bestowed.") == []


@cache
def docstrings() -> list[tuple[str, str, str]]:
    """Return the room, the place and the text of each docstring of mcloud and of the functions."""
    return list(_docstrings())


def _docstrings() -> Iterator[tuple[str, str, str]]:
    for path in sorted([*(ROOT / "mcloud").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]):
        name = path.relative_to(ROOT)
        room = name.parts[0] if name.parts[0] == "functions" else Path(name.parts[1]).stem
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            body = getattr(node, "body", None)
            for each in body if isinstance(body, list) else ():
                match each:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield room, f"{name}:{each.lineno}", text.strip()
