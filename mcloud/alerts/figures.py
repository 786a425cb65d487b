"""The figures that the alert rules judge: a tree in which each figure is found by its path.

A path such as ``sites.aws.dead_letters.ready`` names a figure. A ``*`` in a pattern stands for any
one name. A figure that is unknown, alone or with its whole part, is different from a path that does
not exist. ``mcloud.observing.alert_figures`` builds the tree from a snapshot.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ALL = "*"

_OF_FOLDER = ("producers", "replicators", "guards", "alerts", "disk")
"""Parts of the tree about the processes in this folder, and about its disk."""


@dataclass(frozen=True)
class AlertFigure:
    value: float | None
    """The value. None if unknown."""
    at: float
    """Time of the value, in seconds since 1970."""
    why: str = ""
    """Reason why the value is unknown, or a remark on the value."""


@dataclass(frozen=True)
class FoundFigure:
    path: str
    names: tuple[str, ...]
    """Values of the stars in the pattern."""
    figure: AlertFigure | None
    """The figure. None if the path does not exist."""
    is_over: bool = False
    """Whether the figure is of a process that has ended, and has no more values."""


@dataclass(frozen=True)
class AlertPart:
    """A part of the tree, with its figures and parts by name."""

    children: Mapping[str, "AlertPart | AlertFigure"] = field(default_factory=dict)
    unknown: str = ""
    """Reason why the other children are missing."""
    at: float = 0.0
    """Time of the reason, in seconds since 1970."""
    is_over: bool = False
    """Whether the process has ended, and with it the other children."""
    is_optional: bool = False
    """Whether a missing child has no figure at all, instead of a path that does not exist."""


class AlertFigures:
    """All figures of one check. By default, there are none."""

    def __init__(self, root: AlertPart = AlertPart(is_optional=True)) -> None:
        self._root = root

    def find(self, pattern: str) -> list[FoundFigure]:
        """Return every figure of a pattern. A path that does not exist has an entry without a
        figure.

        The result is empty if there is nothing for the pattern, such as no producer or no budget.
        """
        return list(_find(self._root, tuple(pattern.split(".")), (), ()))

    def names(self) -> list[str]:
        """Return the paths of all figures."""
        return [".".join(path) for path in _paths(self._root, ())]


def is_of_folder(path: str) -> bool:
    """Return whether a figure belongs to this folder, so that another folder has its own."""
    return path.partition(".")[0] in _OF_FOLDER


def _find(
    node: AlertPart | AlertFigure,
    wanted: tuple[str, ...],
    path: tuple[str, ...],
    names: tuple[str, ...],
) -> Iterator[FoundFigure]:
    if not wanted:
        # A whole part is not a figure, except to say that it is unknown.
        figure = node if isinstance(node, AlertFigure) else _unknown(node)
        yield FoundFigure(".".join(path), names, figure)
        return
    name, rest = wanted[0], wanted[1:]
    here = ".".join((*path, *wanted))
    if isinstance(node, AlertFigure):
        yield FoundFigure(here, names, node if node.value is None else None)
    elif name == ALL:
        if not node.children and node.unknown:
            yield FoundFigure(here, names, _unknown(node))
        for each, child in node.children.items():
            # Plain figures may stand beside the names. The pattern does not cover them.
            if not rest or isinstance(child, AlertPart) or child.value is None:
                yield from _find(child, rest, (*path, each), (*names, each))
    elif name in node.children:
        yield from _find(node.children[name], rest, (*path, name), names)
    elif not node.is_optional:
        yield FoundFigure(here, names, _unknown(node), node.is_over)


def _unknown(part: AlertPart) -> AlertFigure | None:
    return AlertFigure(None, part.at, part.unknown) if part.unknown else None


def _paths(node: AlertPart | AlertFigure, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, AlertFigure):
        yield path
        return
    for name, child in node.children.items():
        yield from _paths(child, (*path, name))
