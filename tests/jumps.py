"""Clocks that advance only when a test says so, and that can jump separately."""

from dataclasses import dataclass

HOUR = 3600.0


@dataclass
class Jumping:
    """A wall clock and a monotonic clock. Pass its methods wherever a clock is expected."""

    seconds: float = 10_000.0
    """Time of the monotonic clock."""
    ahead: float = 1_800_000_000.0
    """Difference of the wall clock from the monotonic clock."""

    def timer(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.ahead + self.seconds

    def pass_(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.seconds += seconds

    def set_wall(self, by: float) -> None:
        """Set the wall clock; the monotonic clock does not change."""
        self.ahead += by

    def leap(self, by: float) -> None:
        """Let only the monotonic clock jump forward."""
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
