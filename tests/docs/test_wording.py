"""Phrases that must not come back, because they are unusual English or have to be read twice.

The test reads everything that a person reads: docstrings and comments, the messages and help texts
of mcloud, the descriptions and comments of the Terraform modules, and the pages. To add a phrase,
add it to ``PHRASES`` with a better one, and rewrite what the test then finds.
"""

import ast
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from .pages import README, ROOT, pages, prose

PHRASES = {
    r"(is|are|was|were|be|been|being) told": "is reported, is notified",
    r"for long(?! enough)": "for a while, recently",
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
    r"takes it from there": "continues",
    r"(none|empty) where": "or None if, or an empty string if",
    r"anew": "again",
    r"once more": "again",
    r"at hand|to be had|cannot be had": "is available, cannot be fetched",
    r"looks? whether": "checks whether",
    r"(next|each|every|one|of a) look(?!-)": "the next check",
    r"out of line": "unusual",
    r"all else|and the like": "name the others",
    r"as above": "say it again",
    r"(fault|process|processes) of ours": "bug in mcloud, mcloud's own process",
    r"rights": "permissions",
    r"will not do": "cannot be used",
    r"(that|which) (is|are) (?-i:none)": "that is not a …",
    r"taken away": "removed",
    r"(holds?|held|holding) up": "delays",
    r"whoever": "a caller that, every reader",
    r"doors?": "proxy, middleware",
    r"grumbl\w+": "prints warnings",
}
"""Regular expressions of phrases, each with the words to use instead."""

OPENINGS = r"(What|Where|Whose|Whom|Of|As|Than|How|True where|None where)\b"
"""A docstring that opens with one of these has no subject or no verb."""

_ANY = re.compile(rf"\b({'|'.join(PHRASES)})(?!\w)", re.IGNORECASE)
_TERRAFORM = re.compile(r'#\s*(.*)|"([^"]*\s[^"]*)"')
_SPACES = re.compile(r"\s\S+\s")
_CODE = re.compile(r"\\|\b(SELECT|INSERT|CREATE|DELETE|UPDATE|PRAGMA)\b")
"""Regular expressions and SQL."""

Text = tuple[str, str]
"""A text and its place in the repository."""


def found_in(text: str) -> list[str]:
    return [found[0] for found in _ANY.finditer(" ".join(text.split()))]


def read_docstrings(*folders: str) -> Iterator[Text]:
    for path, tree in _trees(folders):
        for each in _docstrings_of(tree):
            yield f"{path}:{each.lineno}", str(each.value)


def read_comments(*folders: str) -> Iterator[Text]:
    """Yield each comment; those of adjacent lines together, because phrases may be wrapped."""
    for path in _sources(folders):
        line, begin, words = 0, 0, list[str]()
        with tokenize.open(ROOT / path) as file:
            for token in tokenize.generate_tokens(file.readline):
                if token.type != tokenize.COMMENT:
                    continue
                if token.start[0] != line + 1:
                    yield f"{path}:{begin}", " ".join(words)
                    begin, words = token.start[0], []
                line = token.start[0]
                words.append(token.string.lstrip("# "))
        yield f"{path}:{begin}", " ".join(words)


def read_messages(*folders: str) -> Iterator[Text]:
    """Yield the strings of at least three words, with ``{}`` for the fields of f-strings."""
    for path, tree in _trees(folders):
        known = set(_docstrings_of(tree))
        for node in ast.walk(tree):
            match node:
                case ast.JoinedStr(values=values):
                    known.update(each for each in values if isinstance(each, ast.Constant))
                    text = "".join(_text_of(each) for each in values)
                case ast.Constant(value=str(text)) if node not in known:
                    pass
                case _:
                    continue
            if _SPACES.search(text) and not _CODE.search(text):
                yield f"{path}:{node.lineno}", text


def read_terraform() -> Iterator[Text]:
    """Yield the comments and the quoted texts of the modules."""
    for path in sorted((ROOT / "terraform").rglob("*.tf")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for comment, quoted in _TERRAFORM.findall(line):
                yield f"{path.relative_to(ROOT)}:{number}", comment or quoted


def read_pages() -> Iterator[Text]:
    for page in [*pages(), README.with_name("CHANGELOG.md")]:
        for number, paragraph in enumerate(re.split(r"\n\s*\n", prose(page)), 1):
            yield f"{page.relative_to(ROOT)}, paragraph {number}", paragraph


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(lambda: read_docstrings("mcloud", "functions", "tests"), id="docstrings"),
        pytest.param(lambda: read_comments("mcloud", "functions", "tests"), id="comments"),
        pytest.param(lambda: read_messages("mcloud", "functions"), id="messages"),
        pytest.param(read_terraform, id="terraform"),
        pytest.param(read_pages, id="pages"),
    ],
)
def test_no_text_has_one_of_the_phrases(texts: Callable[[], Iterator[Text]]) -> None:
    read = list(texts())
    assert len(read) > 200
    assert {place: found_in(text) for place, text in read if found_in(text)} == {}


def test_no_docstring_begins_with_a_relative_clause() -> None:
    read = read_docstrings("mcloud", "functions")
    assert [place for place, text in read if re.match(OPENINGS, text.strip())] == []


def read_lists_as_subjects(*folders: str) -> Iterator[Text]:
    """Yield each message in which a joined list is the subject of a verb in the singular."""
    for path, tree in _trees(folders):
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for before, field, after in zip(
                [ast.Constant(""), *parts], parts, parts[1:], strict=False
            ):
                is_subject = not _text_of(before).endswith(" of ")
                verb = re.match(r" (does|is|has|was|answers) ", f"{_text_of(after)} ")
                if is_subject and verb and "', '.join(" in ast.unparse(field):
                    yield f"{path}:{node.lineno}", ast.unparse(node)


def test_a_list_of_names_has_a_verb_in_the_plural() -> None:
    assert list(read_lists_as_subjects("mcloud", "functions")) == []


def test_each_phrase_is_found() -> None:
    assert found_in("What the queue\nis told goes on.") == ["is told", "goes on"]
    assert found_in("It tolerates a going concern; amend it; bestowed; every look-up.") == []


def test_each_kind_of_text_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = '"""A docstring."""\n# A comment\n# of two lines.\nraise Error(f"the {kind} is old")\n'
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "module.py").write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [text for _, text in read_docstrings("room")] == ["A docstring."]
    assert [text for _, text in read_comments("room") if text] == ["A comment of two lines."]
    assert [text for _, text in read_messages("room")] == ["the {} is old"]


def _sources(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != Path(__file__).name:
                yield path.relative_to(ROOT)


def _trees(folders: Iterable[str]) -> Iterator[tuple[Path, ast.Module]]:
    for path in _sources(folders):
        yield path, ast.parse((ROOT / path).read_text("utf-8"))


def _docstrings_of(tree: ast.Module) -> list[ast.Constant]:
    return [
        each.value
        for node in ast.walk(tree)
        for each in (node.body if isinstance(getattr(node, "body", None), list) else ())
        if isinstance(each, ast.Expr)
        and isinstance(each.value, ast.Constant)
        and isinstance(each.value.value, str)
    ]


def _text_of(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"
