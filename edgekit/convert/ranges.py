"""The calibration record: one range an activation, measured once on the float graph, for every format.

A tensor is called by its node in the frozen graph ("conv1/Relu6"; "split:1" for a node's second output), so
that each format can find its own tensors in the record. The same range makes the same grid everywhere:
`grid` turns it into a scale and a zero point.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from edgekit.artifact import checked
from edgekit.convert.beside import read_beside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

RECORD = "calibration.json"
"""The record's file in a bundle."""
SCHEMA = 1
PICKED = "picked"
"""What stands for the method where each tensor has its own."""
LEVELS = 255
"""Steps of an 8-bit grid."""
_TINY = 1e-30
"""A range narrower than this has no scale that float32 holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How 8 bits stand for real values: real = scale * (stored - zero_point), stored from -128 to 127.

    Attributes:
        scale: representable in float32, and in float16 where that has its 11 bits (from 6e-5 on): Core ML's
            16-bit programs then have the very scale of the other formats.
        zero_point: for signed storage; unsigned storage adds 128.
    """

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        """The real value that -128 stands for."""
        return self.scale * (-128 - self.zero_point)

    @property
    def high(self) -> float:
        """The real value that 127 stands for."""
        return self.scale * (127 - self.zero_point)


def grid(low: float, high: float) -> Grid:
    """Return the 8-bit grid of a range: widened to hold 0, which is represented exactly.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (2018), section 3.1.
    """
    import numpy as np

    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < _TINY:
        return Grid(scale=1.0, zero_point=0)
    scale = _half((high - low) / LEVELS)
    return Grid(scale=scale, zero_point=int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def _half(scale: float) -> float:
    """Return the least float16 that is no smaller, or the nearest float32 where float16 has fewer bits."""
    import numpy as np

    info = np.finfo(np.float16)
    if not float(info.tiny) <= scale <= float(info.max):
        return float(np.float32(scale))
    near = np.float16(scale)
    return float(near if float(near) >= scale else np.nextafter(near, info.max))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prints:
    """What tells tensors apart whatever a format calls them and however it lays them out.

    Attributes:
        inputs: the first calibration inputs, K x the input's shape without its batch.
        sizes: elements of each tensor, by name, in the order in which they are computed.
        values: of each tensor K x (smallest, largest, mean), one row an input.
    """

    inputs: np.ndarray[Any, Any]
    sizes: Mapping[str, int]
    values: Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """Activation ranges that every format takes its parameters from.

    Attributes:
        sha256: of the calibration data.
        count: how many inputs were run.
        method: how a range was found: one of `methods.METHODS`, or PICKED.
        ranges: (low, high) of each float tensor of the frozen graph, by name, in the order of computing.
        flat: the tensors that hardly changed over all inputs and places: their ranges mean nothing.
        one_colour: how many inputs were of one colour each.
        prints: what finds these tensors in a format's own graph; not stored.
        spans: the smallest and the largest value of each channel, by tensor; not stored.
        means: the same of each input, averaged exponentially; not stored.
        schema: of calibration.json.
    """

    sha256: str
    count: int
    method: str
    ranges: Mapping[str, tuple[float, float]]
    flat: tuple[str, ...] = ()
    one_colour: int = 0
    prints: Prints | None = field(default=None, compare=False, repr=False)
    spans: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    means: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    schema: int = SCHEMA

    def grid(self, tensor: str) -> Grid:
        """Return a tensor's 8-bit grid.

        Raises:
            KeyError: the frozen graph has no float tensor of this name.
        """
        return grid(*self.ranges[tensor])

    def warnings(self) -> tuple[str, ...]:
        """Return what is doubtful about the data, a sentence each."""
        found = []
        if self.one_colour:
            found.append(
                f"{self.one_colour} of {self.count} calibration inputs are of one colour: their ranges say "
                "little about real images"
            )
        if self.flat:
            named = ", ".join(self.flat[:5]) + (f" and {len(self.flat) - 5} more" if self.flat[5:] else "")
            found.append(f"ranges collapsed, nothing varied over the calibration inputs in: {named}")
        return tuple(found)

    def to_json(self) -> bytes:
        """Return the record as the text of calibration.json."""
        data = asdict(dataclasses.replace(self, prints=None, spans={}, means={}))
        del data["prints"], data["spans"], data["means"]
        data["ranges"] = {name: {"low": low, "high": high} for name, (low, high) in self.ranges.items()}
        return json.dumps(data, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, bundle: Path) -> Self:
        """Read the record of a bundle.

        Raises:
            UsageError: it has none, or one that can't be read.
        """
        return read_beside(
            bundle / RECORD,
            "calibration record",
            SCHEMA,
            lambda data: cls(**checked(cls, _typed(data), RECORD)),
        )


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    ranges = {name: (float(r["low"]), float(r["high"])) for name, r in data["ranges"].items()}
    return {**data, "ranges": ranges, "flat": tuple(data["flat"])}
