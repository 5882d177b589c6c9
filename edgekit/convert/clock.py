"""Say what is being done, and how long it took."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekit.convert.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class Clock:
    """Tells steps to the caller and adds up their seconds."""

    tell: Callable[[Step], None] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, recipe: str, phase: str) -> Iterator[None]:
        """Time a phase."""
        self.say(Step(recipe=recipe, phase=phase))
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            name = recipe or phase
            self.seconds[name] = self.seconds.get(name, 0.0) + took
        self.say(Step(recipe=recipe, phase=phase, seconds=took))

    def count(self, done: int, total: int) -> None:
        """Tell how many calibration inputs are done."""
        self.say(Step(recipe="", phase="calibrate", done=done, total=total))

    def say(self, step: Step) -> None:
        """Tell a step."""
        if self.tell is not None:
            self.tell(step)
