"""A working folder full of modules that mcloud must not import."""

import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

OURS = ("mcloud", "functions", "main", "sitecustomize", "usercustomize")


class Hostile:
    """``folder`` has a file for each name that a process of mcloud may ever import.

    A file that is imported writes its name to ``imported`` and fails.
    """

    def __init__(self, folder: Path, spare: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._imported = folder / "imported.txt"
        body = (
            f"with open({str(self._imported)!r}, 'a') as file:\n"
            "    print(__name__, file=file)\n"
            "raise SystemError('imported from the working folder: ' + __file__)\n"
        )
        folder.mkdir(parents=True, exist_ok=True)
        for name in names():
            if name not in spare:
                (folder / f"{name}.py").write_text(body)

    @property
    def imported(self) -> set[str]:
        if not self._imported.exists():
            return set()
        return set(self._imported.read_text().split())


@cache
def names() -> tuple[str, ...]:
    """Return the names of the standard library, of all installed packages and of mcloud."""
    installed = {name for name in packages_distributions() if name.isidentifier()}
    return tuple(sorted({*sys.stdlib_module_names, *installed, *OURS}))
