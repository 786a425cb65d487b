"""Clocks of a test that pass when it says so, and of which each may jump."""

from dataclasses import dataclass

HOUR = 3600.0


@dataclass
class Jumping:
    """A wall clock and a monotonic one; give the methods to what takes clocks."""

    seconds: float = 10_000.0
    """What the monotonic clock says."""
    ahead: float = 1_800_000_000.0
    """What the wall clock has more than that."""

    def timer(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.ahead + self.seconds

    def pass_(self, seconds: float) -> None:
        """Time passes, and both clocks agree on it."""
        self.seconds += seconds

    def set_wall(self, by: float) -> None:
        """Somebody sets the wall clock; the other does not move."""
        self.ahead += by

    def leap(self, by: float) -> None:
        """The monotonic clock leaps forward, alone."""
        self.seconds += by
        self.ahead -= by

    def jump(self, kind: str) -> None:
        {
            "wall forward": lambda: self.set_wall(5 * HOUR),
            "wall back": lambda: self.set_wall(-5 * HOUR),
            "timer forward": lambda: self.leap(5 * HOUR),
            "suspended": lambda: self.pass_(5 * HOUR),
        }[kind]()


KINDS = ("wall forward", "wall back", "timer forward", "suspended")
