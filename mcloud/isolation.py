"""Keeps the user's own Python files out of mcloud.

Python looks for a module in the working folder before it looks anywhere else when it is started
with ``-m`` or ``-c``, and in each folder of ``PYTHONPATH`` before its own library. A ``random.py``
or ``queue.py`` that the user keeps there would be imported in place of the standard module, in this
process and in every process that it starts.

Until ``settle`` has run, nothing may be imported that Python has not loaded by itself at its
start: this module imports ``os`` and ``sys`` only.
"""

import os
import sys

PACKAGE = os.path.dirname(os.path.abspath(__file__))

# Where Python and its packages are, and how text is encoded. mcloud's own processes get no other
# variables of Python, which are meant for the user's programs (PYTHONSTARTUP, PYTHONINSPECT,
# PYTHONWARNINGS, PYTHONOPTIMIZE, PYTHONBREAKPOINT, …).
KEPT = (
    "PYTHONCOERCECLOCALE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONIOENCODING",
    "PYTHONNOUSERSITE",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUSERBASE",
    "PYTHONUTF8",
)


def settle() -> None:
    """Stop this process from importing files of the working folder or of ``PYTHONPATH``.

    Folders of installed packages stay, as ``pip install --target`` makes them, and so does the
    folder that mcloud itself was loaded from.
    """
    foreign = set(_folders(os.environ.get("PYTHONPATH", "")))
    if not sys.flags.safe_path and sys.path:
        # This is the working folder, or the folder of the program that was started.
        first = _absolute(sys.path[0])
        foreign.add(first)
        if _is_home(first):
            # The processes that this one starts have to find mcloud there as well.
            found = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = f"{first}{os.pathsep}{found}" if found else first
    library = os.path.dirname(os.path.abspath(os.__file__))
    sys.path[:] = [
        folder
        for folder in sys.path
        if (place := _absolute(folder)) not in foreign
        or f"{place}{os.sep}".startswith(f"{library}{os.sep}")
        or _holds_packages(place)
    ]
    # Python has already read this variable. It must not reach programs that an SDK starts, such as
    # gcloud or a credential helper, which may import modules from their own folders: gcloud does
    # not start with it.
    os.environ.pop("PYTHONSAFEPATH", None)


def environment(given: dict[str, str]) -> dict[str, str]:
    """Return an environment for one of mcloud's own Python processes, and for every process that it
    starts."""
    folders = [
        folder for folder in _folders(given.get("PYTHONPATH", "")) if _holds_packages(folder)
    ]
    return {
        **{
            name: value
            for name, value in given.items()
            if not name.startswith("PYTHON") or name in KEPT
        },
        **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {}),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _folders(path: str) -> list[str]:
    """Return the folders of a ``PYTHONPATH``, in which an empty entry stands for the working
    folder."""
    return [_absolute(folder) for folder in path.split(os.pathsep)] if path else []


def _absolute(folder: str) -> str:
    try:
        return os.path.abspath(folder)
    except OSError:
        return folder  # the working folder was deleted


def _holds_packages(folder: str) -> bool:
    if _is_home(folder):
        return True
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False


def _is_home(folder: str) -> bool:
    """Return whether mcloud itself was loaded from the folder."""
    return os.path.realpath(folder) == os.path.realpath(os.path.dirname(PACKAGE))
