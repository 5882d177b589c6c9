"""Activation ranges: the smallest and the largest value that each tensor took over the calibration data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True)
class Ranges:
    """Ranges by tensor name, widened and never overwritten.

    Attributes:
        low: the smallest value of each tensor.
        high: the largest value of each tensor.
    """

    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)

    def see(self, name: str, low: float, high: float) -> None:
        """Widen a tensor's range."""
        self.low[name] = min(low, self.low.get(name, low))
        self.high[name] = max(high, self.high.get(name, high))

    def see_values(self, name: str, values: np.ndarray[Any, Any]) -> None:
        """Widen a tensor's range by what it holds."""
        self.see(name, float(values.min()), float(values.max()))

    def pairs(self) -> dict[str, tuple[float, float]]:
        """Return (low, high) by name."""
        return {name: (low, self.high[name]) for name, low in self.low.items()}
