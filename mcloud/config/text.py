"""Text files that a person wrote, with any editor.

They are UTF-8. A byte-order mark is ignored, and so is a byte in a comment that is not UTF-8, which
an editor for Latin-1 may write. A value with such a byte is unknown.
"""

import codecs
from pathlib import Path

from mcloud.errors import ConfigError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Replacement for bytes that are not UTF-8."""

SAVE = "save the file as UTF-8"
_OTHERS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read(path: Path) -> str:
    """Return the text of a file, with ``UNKNOWN`` in place of bytes that are not UTF-8.

    Raises:
        FileNotFoundError: there is none.
        ConfigError: it cannot be read, or is UTF-16 or UTF-32.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    for mark, encoding in _OTHERS.items():
        if content.startswith(mark):
            raise ConfigError(f"{path} is {encoding}", remedy=SAVE)
    if b"\0" in content:
        raise ConfigError(f"{path} is not a text file: it has a zero byte", remedy=SAVE)
    # As for all text files, also accept the line endings of Windows and old Macs.
    text = content.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
