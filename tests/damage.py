"""Ways in which a person or another version of mcloud can damage a stored document."""

import math
from typing import Any

from hypothesis import strategies as st

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400, 10**5000]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308]),
    st.text(max_size=5),
    st.sampled_from(["\ud800", "\x00", "a\nb", "\x1b[31m", "NaN", "9" * 30]),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just({1: 2, None: 3, b"x": 4}),
)


@st.composite
def damaged(draw: Any, document: Any) -> Any:
    """Draw a copy of a document with one to three damages."""
    for _ in range(draw(st.integers(1, 3))):
        document = draw(_once(document))
    return document


@st.composite
def _once(draw: Any, document: Any) -> Any:
    inner = document and isinstance(document, dict | list | tuple)
    if inner and draw(st.integers(0, 3)):
        return _inside(draw, document)
    how = draw(st.sampled_from(["value", "newer", "unknown", "wrapped", "as it is"]))
    if how == "newer" and isinstance(document, dict):
        return {**document, "version": draw(st.sampled_from([2, 10**30, "2", True, None]))}
    if how == "unknown" and isinstance(document, dict):
        return {**document, draw(st.text(max_size=3)): draw(VALUES)}
    if how == "wrapped":
        return draw(st.sampled_from([[document], {"document": document}, {"": [document]}]))
    return document if how == "as it is" else draw(VALUES)


def _inside(draw: Any, document: Any) -> Any:
    if isinstance(document, dict):
        name = draw(st.sampled_from(sorted(document, key=ascii)))
        rest = {key: each for key, each in document.items() if key != name}
        how = draw(st.sampled_from(["deleted", "renamed", "changed", "changed", "changed"]))
        if how == "deleted":
            return rest
        if how == "renamed":
            return {**rest, f"{name}_": document[name]}
        return {**rest, name: draw(_once(document[name]))}
    index = draw(st.integers(0, len(document) - 1))
    parts = list(document)
    parts[index] = draw(_once(parts[index]))
    return parts


@st.composite
def texts(draw: Any, document: Any) -> bytes:
    """Draw the content of a file that should hold the JSON of a document."""
    import json

    how = draw(st.sampled_from(["json", "json", "json", "cut", "bytes", "deep", "digits", "bom"]))
    if how == "deep":
        return b"[" * 100_000
    if how == "digits":
        return b'{"at": ' + b"9" * 5000 + b"}"
    if how == "bytes":
        return bytes(draw(st.binary(max_size=20)))
    sound = json.dumps(document).encode()
    if how == "bom":
        return b"\xef\xbb\xbf" + sound
    if how == "cut":
        return sound[: draw(st.integers(0, len(sound) - 1))]
    return _dumped(draw(damaged(document)))


def _dumped(value: Any) -> bytes:
    """Return JSON of a value if it has any, including huge numbers and NaN."""
    import json

    def plain(each: Any) -> Any:
        if isinstance(each, dict):
            return {str(name): plain(inner) for name, inner in each.items()}
        if isinstance(each, list | tuple):
            return [plain(inner) for inner in each]
        if isinstance(each, bytes):
            return each.hex()
        return 10**30 if isinstance(each, int) and abs(each) > 10**400 else each

    return json.dumps(plain(value)).encode()
