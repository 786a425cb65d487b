"""Filters of subscriptions, which choose messages by their attributes.

https://cloud.google.com/pubsub/docs/subscription-message-filter#filtering_syntax
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Attributes: TypeAlias = Mapping[str, str]
_Test: TypeAlias = Callable[[Attributes], bool]

_TOKENS: Final = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.)*")|(AND|OR|NOT|hasPrefix|attributes)\b|(!=|[=:.(),-])'
    r"|([A-Za-z_][A-Za-z0-9_-]*))"
)
LONGEST: Final = 256  # bytes of a filter


class MessageFilter:
    """A parsed filter. Without a text, it lets every message pass.

    Raises:
        ValueError: the text is not a filter.
    """

    def __init__(self, text: str) -> None:
        if len(text.encode()) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} bytes")
        self._tokens = _split(text)
        self.passes: _Test = self._either() if self._tokens else lambda attributes: True
        if self._tokens:
            raise ValueError(f"{self._tokens[0]} is unexpected")

    def _either(self) -> _Test:
        """Parse terms that all operators AND, or all operators OR, join."""
        tests = [self._term()]
        operator = self._next() if self._peek() in ("AND", "OR") else ""
        while operator:
            tests.append(self._term())
            if self._peek() not in ("AND", "OR"):
                break
            if self._next() != operator:
                raise ValueError("AND and OR need parentheses between them")
        join = any if operator == "OR" else all
        return lambda attributes: join(test(attributes) for test in tests)

    def _term(self) -> _Test:
        token = self._next()
        if token in ("NOT", "-"):
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if token == "(":
            inner = self._either()
            self._expect(")")
            return inner
        if token == "hasPrefix":
            self._expect("(")
            self._expect("attributes")
            self._expect(".")
            key = self._text()
            self._expect(",")
            prefix = self._text()
            self._expect(")")
            return lambda attributes: attributes.get(key, "").startswith(prefix)
        if token != "attributes":
            raise ValueError(f"{token or 'the end'} is unexpected")
        separator, key = self._next(), self._text()
        if separator == ":":
            return lambda attributes: key in attributes
        if separator != ".":
            raise ValueError(f"{separator} is unexpected")
        operator, value = self._next(), self._text()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        if operator == "!=":
            return lambda attributes: attributes.get(key) != value
        raise ValueError(f"{operator or 'the end'} is not = or !=")

    def _text(self) -> str:
        token = self._next()
        if token.startswith('"'):
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if not re.match(r"[A-Za-z_]", token):
            raise ValueError(f"{token or 'the end'} is unexpected")
        return token

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _next(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""

    def _expect(self, wanted: str) -> None:
        if (token := self._next()) != wanted:
            raise ValueError(f"{token or 'the end'} is not {wanted}")


def _split(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKENS.match(text, at)
        if not found:
            raise ValueError(f"{text[at:]} is unexpected")
        tokens.append(found[found.lastindex or 0])
        at = found.end()
    return tokens
