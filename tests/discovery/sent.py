"""Places in the source that send REST requests to Google, and those that a test has reached."""

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import mcloud
from mcloud.http import HttpAnswer, HttpClient

ROOT = Path(mcloud.__file__).parents[1]
SESSIONS = ("GcpSession", "make_session")
"""Names of ``clouds.gcp.client`` without which no module can send a signed request."""
PATH = re.compile(
    r"(^|/)v\d(alpha|beta)?\d*/|^https://[\w*-]+\.googleapis\.com|[*\w]:[a-z]+[A-Z]?\w*$"
)
"""Text of a path of an API, of the host of one, and of a custom verb such as ``:run``."""
SCOPE = "https://www.googleapis.com/auth/"


@dataclass(frozen=True, order=True)
class Place:
    """A call, or a text, in a module."""

    module: str
    line: int
    text: str
    end: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.text}"


@dataclass
class Sent:
    """Requests that were sent, with the lines of the source that led to them."""

    urls: list[str] = field(default_factory=list)
    lines: set[tuple[str, int]] = field(default_factory=set)

    def has_reached(self, place: Place) -> bool:
        lines = range(place.line, place.end + 1)
        return any((place.module, line) in self.lines for line in lines)

    def has_sent(self, place: Place) -> bool:
        """Return whether the text of a place is part of a URL."""
        wanted = re.escape(place.text).replace(r"\*", ".+")
        return any(re.search(wanted, url) for url in self.urls)


@contextmanager
def recording() -> Iterator[Sent]:
    """Note every request that mcloud sends in this process."""
    sent, ask = Sent(), HttpClient.ask

    def noting(client: HttpClient, method: str, url: str, *rest: Any, **more: Any) -> HttpAnswer:
        sent.urls.append(url.partition("?")[0])
        frame = sys._getframe(1)
        while frame:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT / "mcloud"):
                sent.lines.add((str(path.relative_to(ROOT)), frame.f_lineno))
            if not frame.f_back:
                break
            frame = frame.f_back
        return ask(client, method, url, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpClient, "ask", noting)
        yield sent


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module that can send a signed request to Google."""
    for folder in ("mcloud", "functions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if any(name in source for name in SESSIONS):
                yield str(path.relative_to(ROOT)), ast.parse(source)


def calls(module: str, tree: ast.Module) -> Iterator[Place]:
    """Yield the calls in a module that lead to a request.

    They are the calls of ``ask``, and of the module's own private functions that call it in turn.
    """
    senders = {"ask"}
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    while True:
        found = {
            function.name
            for function in functions
            if function.name.startswith("_")
            and not function.name.startswith("__")
            and any(_called(node) in senders for node in ast.walk(function))
        }
        if found <= senders:
            break
        senders |= found
    for node in ast.walk(tree):
        name = _called(node)
        if isinstance(node, ast.Call) and name in senders:
            yield Place(module, node.lineno, f"{name}(…)", node.end_lineno or node.lineno)


def paths(module: str, tree: ast.Module) -> Iterator[Place]:
    """Yield the texts in a module that are a part of a URL; ``*`` stands for a variable part."""
    pieces = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    descriptions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in pieces | descriptions:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if PATH.search(text) and not text.startswith(SCOPE) and " " not in text:
            yield Place(module, node.lineno, text, node.end_lineno or node.lineno)


def _called(node: ast.AST) -> str:
    """Return the name of what a node calls; empty for anything else.

    ``http.ask`` sends requests without a signature, which only go to embedded services.
    """
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        receiver = node.func.value
        is_unsigned = isinstance(receiver, ast.Name) and receiver.id == "http"
        return "" if is_unsigned else node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""
