"""What 8 bits cost, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgekit.convert.ranges import grid

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
        weights_snr_db: signal to noise of the weighted sums that it is made of, for the rounding of their
            weights alone; None where it is made of none.
        drowned: the share of channels that lose a tenth of their power or more to its rounding, 0 to 1: other
            channels stretch the range that all share.
    """

    tensor: str
    op: str
    low: float
    high: float
    snr_db: float
    own_snr_db: float
    saturated: float
    weights_snr_db: float | None = None
    drowned: float = 0.0

    @property
    def total_db(self) -> float:
        """Signal to all noise that 8 bits add here, in dB: of values, weights and drowned channels."""
        ratios = [10 ** (-lost / 10) for lost in (self.own_snr_db, self.weights_snr_db) if lost is not None]
        return -10 * math.log10(sum(ratios) + self.drowned)


def layer(
    name: str,
    op: str,
    values: tuple[Any, Any, Any],
    limits: tuple[float, float],
    weights: float | None = None,
) -> Layer:
    """Return what a stored tensor lost.

    Args:
        name: of the tensor.
        op: what makes it.
        values: what it holds in the float network; in the twin, before it is put on its grid; and on it.
        limits: of its range.
        weights: what the rounding of its weights costs, in dB.
    """
    import tensorflow as tf

    held = grid(*limits)
    wanted, before, after = values
    outside = (before < held.low - held.scale / 2) | (before > held.high + held.scale / 2)
    return Layer(
        tensor=name,
        op=op,
        low=held.low,
        high=held.high,
        snr_db=_snr(wanted, after),
        own_snr_db=_snr(before, after),
        saturated=float(tf.reduce_mean(tf.cast(outside, tf.float32))),
        weights_snr_db=weights,
        drowned=_drowned(before, after),
    )


def _drowned(before: Any, after: Any) -> float:
    """Return the share of channels that lose a tenth of their power or more."""
    import tensorflow as tf

    axes = list(range(before.shape.rank - 1))
    power, lost = (tf.reduce_sum(tf.square(values), axes) for values in (before, before - after))
    return float(tf.reduce_mean(tf.cast((power > 0) & (lost >= power / 10), tf.float32)))


def rounding_snr(sums: Any, lost: Any, *, centred: bool) -> float:
    """Return signal to noise of weighted sums, in dB.

    Args:
        sums: as the rounded weights give them, inputs x places x channels.
        lost: what the rounding took, the same shape.
        centred: biases take back each channel's mean, which is no loss then (nor any signal).
    """
    import tensorflow as tf

    rows = [tf.reshape(values, [-1, values.shape[-1]]) for values in (sums, lost)]
    if centred and rows[0].shape[0] > 1:
        rows = [row - tf.reduce_mean(row, 0) for row in rows]
    return _snr(rows[0] + rows[1], rows[0])


def _snr(wanted: Any, got: Any) -> float:
    import tensorflow as tf

    signal = float(tf.nn.l2_loss(wanted))
    noise = float(tf.nn.l2_loss(wanted - got))
    if noise <= signal * _FLOOR:
        return 200.0
    return max(-200.0, 10 * math.log10(max(signal, _FLOOR) / noise))
