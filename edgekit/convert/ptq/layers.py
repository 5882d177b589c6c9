"""What 8 bits cost, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.ranges import grid

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUTS = 4
"""So many inputs of a sample are looked at."""
_FLOOR = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a stored tensor lost.

    Attributes:
        tensor: its name in the frozen graph.
        op: what makes it.
        low: of its range.
        high: of its range.
        snr_db: signal to quantization noise, everything before it included, in dB.
        own_snr_db: the same of its own rounding and clipping alone.
        saturated: the share of values beyond its range, 0 to 1.
    """

    tensor: str
    op: str
    low: float
    high: float
    snr_db: float
    own_snr_db: float
    saturated: float

    @property
    def advice(self) -> str:
        """What would help, or ""."""
        if self.saturated > 0.01:  # noqa: PLR2004 - one value in a hundred
            return "its range cuts off much: calibrate on more typical inputs, or by minmax"
        if self.own_snr_db < 20:  # noqa: PLR2004 - a hundredth of the power
            return "few channels stretch its range: 16-bit activations (w8a16) keep them"
        return ""


def layer(name: str, op: str, values: tuple[Any, Any, Any], limits: tuple[float, float]) -> Layer:
    """Return what a stored tensor lost.

    Args:
        name: of the tensor.
        op: what makes it.
        values: what it holds in the float network; in the twin, before it is put on its grid; and on it.
        limits: of its range.
    """
    import tensorflow as tf

    held = grid(*limits)
    wanted, before, after = (held[:INPUTS] for held in values)
    outside = (before < held.low - held.scale / 2) | (before > held.high + held.scale / 2)
    return Layer(
        tensor=name,
        op=op,
        low=held.low,
        high=held.high,
        snr_db=_snr(wanted, after),
        own_snr_db=_snr(before, after),
        saturated=float(tf.reduce_mean(tf.cast(outside, tf.float32))),
    )


def _snr(wanted: Any, got: Any) -> float:
    import math

    import tensorflow as tf

    signal = float(tf.nn.l2_loss(wanted))
    noise = float(tf.nn.l2_loss(wanted - got))
    return min(200.0, 10 * math.log10(max(signal, _FLOOR) / max(noise, _FLOOR)))


def worst(layers: Sequence[Layer], count: int = 5) -> list[Layer]:
    """Return the layers whose own rounding and clipping cost most, the worst first."""
    return sorted(layers, key=lambda found: found.own_snr_db)[:count]
