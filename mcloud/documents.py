"""Decodes stored documents into frozen dataclasses, or says why a document cannot be used.

``encode`` is the way back: it returns the JSON document of a dataclass.

A document on a site or on the disk may have been edited, cut short, or written by another version
of mcloud. ``decode`` compares a document with the annotations of a dataclass and never raises. A
caller that gets ``Damaged`` works without the document, reports it, and leaves it unchanged. Only
`mcloud documents repair` changes it.

The annotations may be ``bool``, ``int``, ``float``, ``str``, ``Decimal``, ``Any``, a ``Literal`` of
several texts, dataclasses and named tuples, with ``| None``, ``Mapping[str, …]`` and ``tuple[…]``
of those. Checks of a value go into ``Annotated``, and ``OTHER_TEXTS`` beside a ``Literal`` if a
stored text that this version does not know must not damage the document. Fields with a default may
be missing; unknown fields are ignored. A document of a newer version has a ``version`` above
``VERSION``. A document without a version has version 1.
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from itertools import count
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from mcloud.errors import McloudError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1
"""Version of all documents that this mcloud writes."""

REPAIR = "mcloud documents repair"
SHOWN = 40  # characters of a value in a message
DEEPEST = 50  # levels of a value that has no annotation

Json: TypeAlias = "bool | int | float | str | list[Json] | Mapping[str, Json] | None"
"""A JSON value."""

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
Getter = TypeVar("Getter", bound=Callable[[Any], object])


@dataclass(frozen=True)
class Damaged:
    """A stored document that cannot be used."""

    what: str
    """The problem, such as ``epoch is 'x', not a whole number``."""
    where: str
    """Which document, such as ``the debt gcp`` or the path of a file."""
    is_newer: bool = False
    """Whether a newer version of mcloud wrote the document."""
    found: Any = field(default=None, compare=False, repr=False)
    """The document as it was found."""

    def __str__(self) -> str:
        if self.is_newer:
            return f"{self.where} was written by a newer mcloud ({self.what}); upgrade this mcloud"
        return f"{self.where} is damaged: {self.what}; `{REPAIR}` repairs it"


@dataclass(frozen=True)
class StoredDocument(Generic[Value_co]):
    """A document as a site stores it, and its value."""

    document: Any
    value: Value_co | Damaged

    @property
    def usable(self) -> Value_co | None:
        """The value. None if the document is damaged."""
        return None if isinstance(self.value, Damaged) else self.value

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of mcloud wrote the document."""
        return isinstance(self.value, Damaged) and self.value.is_newer


@dataclass(frozen=True)
class Kind(Generic[Value_co]):
    """Documents of one kind that the sites keep."""

    name: str
    shape: type[Value_co]

    def decode(self, key: str, document: object) -> Value_co | Damaged:
        if isinstance(document, Damaged):
            return document
        return decode(self.shape, document, f"the {self.name} {key}")

    def read(self, key: str, document: object) -> StoredDocument[Value_co]:
        return StoredDocument(document, self.decode(key, document))

    def read_all(self, documents: Mapping[str, object]) -> dict[str, StoredDocument[Value_co]]:
        """Decode all documents of a site, by key."""
        return {key: self.read(key, each) for key, each in documents.items()}


@dataclass(frozen=True)
class Between:
    """Check that a number is in a range, its ends included."""

    least: int
    most: int

    def __call__(self, value: Any) -> str:
        return "" if self.least <= value <= self.most else f"from {self.least} to {self.most}"


@dataclass(frozen=True)
class Matching:
    """Check that a text matches a regular expression."""

    pattern: str
    called: str
    """Name of such a text in messages, such as ``a symbol``."""

    def __call__(self, value: Any) -> str:
        return "" if re.fullmatch(self.pattern, value) else self.called


@dataclass(frozen=True)
class OtherTexts:
    """Accept texts that are not in a ``Literal``, such as those of another version of mcloud."""

    def __call__(self, value: Any) -> str:
        return ""


OTHER_TEXTS = OtherTexts()


@dataclass(frozen=True)
class Parsed:
    """Check that a function accepts a text; it raises ValueError for others."""

    parse: Callable[[str], object]
    called: str

    def __call__(self, value: Any) -> str:
        try:
            self.parse(value)
        except ValueError:
            return self.called
        return ""


INT64 = 2**63 - 1
Count = Annotated[int, Between(0, INT64)]
Time = Annotated[float, Between(0, 253_402_300_799)]
"""Seconds since 1970, until the end of the year 9999."""
Seconds = Annotated[float, Between(-(10**10), 10**10)]


def decode(shape: type[Value], document: object, where: str) -> Value | Damaged:
    """Return a document as a ``shape``, or why it cannot be used. Never raises."""
    if isinstance(document, Damaged):
        return document
    version = document.get("version") if isinstance(document, Mapping) else None
    if type(version) is int and version > VERSION:
        what = f"version {_shown(version)}, and this one reads {VERSION}"
        return Damaged(what, where, is_newer=True, found=document)
    try:
        return cast("Value", _read(shape, document, ""))
    except _Wrong as wrong:
        return Damaged(str(wrong), where, found=document)


OMITTED: Mapping[str, bool] = {"omitted": True}
"""Metadata of a dataclass field that ``encode`` leaves out while it has its default."""
INLINED: Mapping[str, bool] = {"inlined": True}
"""Metadata of a dataclass field whose own fields ``encode`` puts in its place. A field that is None
adds nothing. Only for documents that nothing decodes.
"""


def in_document(getter: Getter) -> Getter:
    """Mark the getter of a property, so that ``encode`` adds the property to the document."""
    getter.__dict__["in_document"] = True
    return getter


def encode(value: object) -> Any:
    """Return the JSON document of a dataclass: objects, lists, texts, numbers, true, false, null.

    Dataclasses and named tuples become objects with their fields in order. A decimal becomes a
    text, so that it stays exact, and an enumeration its value. A field with the metadata
    ``OMITTED`` is left out while it has its default, and the parts of a field with the metadata
    ``INLINED`` take its place. Properties that are ``in_document`` follow the fields.

    Raises:
        TypeError: a part has no form in JSON.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _object(value)
    if isinstance(value, Mapping):
        return {name: encode(part) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: encode(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, list | tuple):
        return [encode(part) for part in value]
    raise TypeError(f"no JSON document has a {type(value).__name__}")


def _object(value: "DataclassInstance") -> dict[str, Any]:
    document: dict[str, Any] = {}
    for each in fields(value):
        part = getattr(value, each.name)
        if each.metadata.get("omitted") and part == _default(each):
            continue
        encoded = encode(part)
        if each.metadata.get("inlined"):
            document |= encoded or {}
        else:
            document[each.name] = encoded
    return document | {name: encode(getattr(value, name)) for name in _derived(type(value))}


def parse(text: str | bytes, where: str) -> dict[str, Any] | Damaged:
    """Return the JSON object in a text, or why there is none. Never raises."""
    value = _json(text, where)
    if isinstance(value, dict | Damaged):
        return value
    return Damaged(f"it is {_shown(value)}, not a JSON object", where, found=text)


def load(path: Path) -> dict[str, Any] | Damaged | None:
    """Return the JSON object in a file, or None if there is no file."""
    content = _content(path)
    return parse(content, str(path)) if isinstance(content, bytes) else content


def read_file(path: Path, shape: type[Value]) -> Value | Damaged | None:
    """Return the JSON in a file as a ``shape``, or None if there is no file."""
    content = _content(path)
    if not isinstance(content, bytes):
        return content
    return decode(shape, _json(content, str(path)), str(path))


def read_text(shape: type[Value], text: str | bytes, where: str) -> Value | Damaged:
    """Return the JSON in a text as a ``shape``, or why it cannot be used. Never raises."""
    return decode(shape, _json(text, where), where)


def _content(path: Path) -> bytes | Damaged | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Damaged(f"it cannot be read: {error.strerror}", str(path))


def _json(text: str | bytes, where: str) -> Any:
    """The value, or Damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Damaged(f"it is not JSON: {error}", where, found=text)


def plain(document: Mapping[str, Any], where: str) -> dict[str, Any] | Damaged:
    """Return a copy of a document without annotations, or why it is not plain JSON."""
    return decode(cast("type[dict[str, Any]]", Mapping[str, Any]), document, where)


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new file can replace it. Return its new path.

    Raises:
        McloudError: it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in count():
        aside = path.with_name(f"{path.name}.damaged-{stamp}{f'-{number}' if number else ''}")
        if not aside.exists():
            break
    try:
        path.rename(aside)
    except OSError as error:
        raise McloudError(f"{path} cannot be renamed: {error.strerror}") from error
    return aside


def sound(documents: Iterable[Value | Damaged]) -> list[Value]:
    """Return the documents that can be used."""
    return [each for each in documents if not isinstance(each, Damaged)]


def damaged(documents: Iterable[object]) -> tuple[Damaged, ...]:
    """Return the documents that cannot be used."""
    return tuple(each for each in documents if isinstance(each, Damaged))


class _Wrong(Exception):
    """A problem in a part of a document, with the path of that part."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'it'} {problem}")


class _Field(NamedTuple):
    name: str
    kind: Any
    is_optional: bool


def _read(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *checks = get_args(kind)
        found = _read(str if OTHER_TEXTS in checks else inner, value, path)
        for check in checks:
            if wanted := check(found):
                raise _Wrong(path, f"is {_shown(value)}, not {wanted}")
        return found
    if origin in (Union, UnionType):
        others = [each for each in get_args(kind) if each is not NoneType]
        if value is None and len(others) < len(get_args(kind)):
            return None
        return _read(others[0], value, path)
    if origin is tuple:
        return _tuple(get_args(kind), value, path)
    if origin is list:
        return list(_tuple((*get_args(kind), ...), value, path))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = get_args(kind)[1]
        return {
            name: _read(inner, each, _under(path, name))
            for name, each in _mapping(value, path).items()
        }
    if origin is Literal:
        return _choice(get_args(kind), value, path)
    if kind in _SCALARS:
        return _SCALARS[kind](value, path)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _record(kind, value, path)
    raise TypeError(f"no document has a {kind}")  # the dataclass is wrong, not the document


def _record(kind: Any, value: Any, path: str) -> Any:
    known = _fields_of(kind)
    if isinstance(value, list | tuple) and not is_dataclass(kind):  # JSON of a named tuple
        value = {each.name: part for each, part in zip(known, value, strict=False)}
    document = _mapping(value, path)
    for each in known:
        if each.name not in document and not each.is_optional:
            raise _Wrong(_under(path, each.name), "is missing")
    return kind(
        **{
            each.name: _read(each.kind, document[each.name], _under(path, each.name))
            for each in known
            if each.name in document
        }
    )


@cache
def _fields_of(kind: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    if is_dataclass(kind):
        return tuple(
            _Field(
                each.name,
                hints[each.name],
                each.default is not MISSING or each.default_factory is not MISSING,
            )
            for each in fields(kind)
        )
    return tuple(_Field(name, hints[name], name in kind._field_defaults) for name in kind._fields)


def _tuple(kinds: Sequence[Any], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Wrong(path, f"is {_shown(value)}, not a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _Wrong(path, f"has {len(value)} parts, not {len(kinds)}")
    return tuple(
        _read(kind, each, _under(path, str(number)))
        for number, (kind, each) in enumerate(zip(kinds, value, strict=True))
    )


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Wrong(path, f"is {_shown(value)}, not an object")
    for name in value:
        if not isinstance(name, str):
            raise _Wrong(path, f"has a field that is called {_shown(name)}")
        _text(name, path)
    return value


def _choice(choices: tuple[str, ...], value: Any, path: str) -> str:
    text = _text(value, path)
    if text not in choices:
        *most, last = choices
        raise _Wrong(path, f"is {_shown(value)}, not {', '.join(most)} or {last}")
    return text


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


@cache
def _derived(kind: type) -> tuple[str, ...]:
    """Return the names of the properties of a dataclass that are part of its document."""
    return tuple(
        name
        for each in reversed(kind.__mro__)
        for name, value in vars(each).items()
        if isinstance(value, property) and hasattr(value.fget, "in_document")
    )


def _truth(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(path, f"is {_shown(value)}, not true or false")
    return value


def _whole(value: Any, path: str) -> int:
    if type(value) is not int:
        raise _Wrong(path, f"is {_shown(value)}, not a whole number")
    if not -INT64 <= value <= INT64:
        raise _Wrong(path, f"is {_shown(value)}, which is beyond 64 bits")
    return value


def _number(value: Any, path: str) -> float:
    if type(value) not in (int, float):
        raise _Wrong(path, f"is {_shown(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Wrong(path, f"is {_shown(value)}, not a finite number")
    return number


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(path, f"is {_shown(value)}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong(path, f"is {_shown(value)}, not a text in Unicode") from None
    return value


def _decimal(value: Any, path: str) -> Decimal:
    try:
        number = Decimal(_text(value, path))
    except InvalidOperation:
        raise _Wrong(path, f"is {_shown(value)}, not a decimal number") from None
    if not number.is_finite():
        raise _Wrong(path, f"is {_shown(value)}, not a finite number")
    return number


def _anything(value: Any, path: str, depth: int = 0) -> Any:
    """Check a value without an annotation: it has to be plain JSON."""
    if depth > DEEPEST:
        raise _Wrong(path, f"has more than {DEEPEST} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {
            name: _anything(each, _under(path, name), depth + 1)
            for name, each in _mapping(value, path).items()
        }
    if isinstance(value, list | tuple):
        return [_anything(each, path, depth + 1) for each in value]
    if isinstance(value, int):
        return _whole(value, path)
    return _number(value, path) if isinstance(value, float) else _text(value, path)


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    bool: _truth,
    int: _whole,
    float: _number,
    str: _text,
    Decimal: _decimal,
    Any: _anything,
}


def _under(path: str, name: str) -> str:
    is_plain = name.isascii() and (name.isidentifier() or name.isdecimal())
    name = name if is_plain else _shown(name)
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return "an object" if isinstance(value, Mapping) else "a list"
    if isinstance(value, int) and abs(value) > 10**SHOWN:
        return "a number of very many digits"
    if isinstance(value, bytes):
        return "bytes"
    text = "null" if value is None else ascii(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
