"""The steps of the demo, for the screen: which are done, after which time, and how far each site
is.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

DemoStep = Literal["up", "stored", "refused", "exact", "out", "moved", "back", "again"]
STEPS: tuple[DemoStep, ...] = get_args(DemoStep)


@dataclass(frozen=True)
class SiteBar:
    """The trades that a site has, of those that it should have."""

    done: int
    whole: int
    words: str = ""

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.whole) if self.whole else 0.0


@dataclass(frozen=True)
class DemoSteps:
    """The state of the demo at a moment."""

    at: float = 0.0
    """Seconds since the start of the demo."""
    reached: dict[DemoStep, float] = field(default_factory=dict)
    """Seconds from the start of the demo to each step that is done."""
    words: dict[DemoStep, str] = field(default_factory=dict)
    """A text for each step that is done, instead of its usual one."""
    failed: frozenset[DemoStep] = frozenset()
    """The steps whose result is not as expected."""
    doing: str = ""
    """Present action of the demo."""
    bars: dict[str, SiteBar] = field(default_factory=dict)
    """By site."""


class Walk:
    """Collects the steps of a demo from its threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._lock = threading.Lock()
        self._steps = DemoSteps()

    @property
    def steps(self) -> DemoSteps:
        with self._lock:
            return replace(self._steps, at=self._clock() - self._begun)

    def reach(self, step: DemoStep, words: str = "") -> None:
        """Note that a step is done. Only the first time counts."""
        with self._lock:
            seen = self._steps
            if step in seen.reached:
                return
            now = self._clock() - self._begun
            self._steps = replace(
                seen,
                at=now,
                reached={**seen.reached, step: now},
                words={**seen.words, **({step: words} if words else {})},
            )

    def fail(self, step: DemoStep, words: str) -> None:
        """Note that a step is over and has failed."""
        self._change(lambda seen: replace(seen, failed=seen.failed | {step}))
        self.reach(step, words)

    def wait_for(self, doing: str) -> None:
        """Note what the demo waits for."""
        self._change(lambda seen: replace(seen, doing=doing))

    def fill(self, site: str, done: int, whole: int, words: str = "") -> None:
        """Note how much a site has."""
        bar = SiteBar(done, whole, words)
        self._change(lambda seen: replace(seen, bars={**seen.bars, site: bar}))

    def clear(self) -> None:
        """Remove the bars, whose figures are those of a step that is over."""
        self._change(lambda seen: replace(seen, bars={}))

    def _change(self, change: Callable[[DemoSteps], DemoSteps]) -> None:
        with self._lock:
            self._steps = replace(change(self._steps), at=self._clock() - self._begun)
