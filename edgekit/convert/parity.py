"""How far outputs are from the float source's, and which distance is still right for a precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Parity
from edgekit.errors import ParityError
from edgekit.recipe import CALIBRATED
from edgekit.source.freezing import snr

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What an artifact must reach.

    Attributes:
        snr_db: signal to error over all golden outputs, in dB, errors within half a step of the output's own
            grid left out.
        top1_agreement: the share of golden inputs with the same largest output.
        step: relative to the largest output: values nearer than this are ties.
        reason: where the numbers come from.
    """

    snr_db: float
    top1_agreement: float
    step: float
    reason: str


BARS: dict[str, Bar] = {
    "fp32": Bar(
        snr_db=60.0,
        top1_agreement=1.0,
        step=1e-4,
        reason="only the order of float32 sums differs: 85 to 140 dB measured; a wrong weight is below 40 dB",
    ),
    "fp16": Bar(
        snr_db=25.0,
        top1_agreement=0.9,
        step=4e-3,
        reason="11 bits of mantissa: 34 to 95 dB measured; an overflow or a lost layer is below 15 dB",
    ),
    "int8": Bar(
        snr_db=3.0,
        top1_agreement=0.25,
        step=0.0,
        reason="half the power of the signal; 8 to 33 dB and 56 to 100 % of 16 photos measured on five "
        "trained networks, a network whose ranges are ruled by dead channels is at 0 dB and 0 %",
    ),
    "w8u8": Bar(
        snr_db=3.0,
        top1_agreement=0.25,
        step=0.0,
        reason="the same grids as int8, moved by 128: 8 to 34 dB and 62 to 100 % measured",
    ),
    "w8a16": Bar(
        snr_db=5.0,
        top1_agreement=0.4,
        step=0.0,
        reason="8-bit weights alone: 8 to 37 dB and 69 to 100 % measured on the five trained networks",
    ),
    "dyn8": Bar(
        snr_db=3.0,
        top1_agreement=0.25,
        step=0.0,
        reason="8-bit weights, ranges of each input: 9 to 36 dB and 62 to 100 % measured likewise; depthwise "
        "convolutions with one grid for all channels are below 0 dB",
    ),
    "w8": Bar(
        snr_db=5.0,
        top1_agreement=0.4,
        step=0.0,
        reason="8-bit weights alone: 10 to 37 dB and 69 to 100 % measured likewise",
    ),
    "w8a8": Bar(
        snr_db=3.0,
        top1_agreement=0.25,
        step=0.0,
        reason="the grids of int8: 8 and 32 dB, 62 and 88 % of 16 photos measured on two trained networks",
    ),
    "p8": Bar(
        snr_db=5.0,
        top1_agreement=0.4,
        step=0.0,
        reason="palettes of 256 values a tensor: 16 dB and 75 % on MobileNet v1 0.25, where w8 has 9 and 69",
    ),
    "p6": Bar(
        snr_db=3.0,
        top1_agreement=0.25,
        step=0.0,
        reason="64 values a tensor: 4 to 28 dB and 44 to 100 % measured; MobileNet v1 0.25 is the least",
    ),
    "p4": Bar(
        snr_db=1.0,
        top1_agreement=0.1,
        step=0.0,
        reason="16 values a tensor: 11 dB and 50 % on SqueezeNet 1.1; MobileNet v1 0.25 breaks: -4 dB, 0 %",
    ),
}


def measure(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], step: float) -> Parity:
    """Compare outputs.

    Args:
        wanted: the float source's, N x outputs.
        got: the artifact's, real values, the same shape.
        step: values of one output nearer than this are ties and count as agreement.
    """
    import numpy as np

    left, right = wanted.reshape(len(wanted), -1), got.reshape(len(got), -1)
    rows = np.arange(len(left))
    there = right.max(axis=1) - right[rows, left.argmax(axis=1)] <= step
    here = left.max(axis=1) - left[rows, right.argmax(axis=1)] <= step
    return Parity(
        max_abs_error=float(np.max(np.abs(left.astype(np.float64) - right))),
        snr_db=max(-200.0, min(200.0, snr(left, right))),
        top1_agreement=float(np.mean(there | here)),
    )


def tie_step(wanted: np.ndarray[Any, Any], precision: str, grid: float | None) -> float:
    """Return how near two values of an output are ties: a step of its grid, or of its precision."""
    import numpy as np

    return max(BARS[precision].step * float(np.max(np.abs(wanted))), (grid or 0.0) * 1.001)


def beyond_grid(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], grid: float | None) -> float:
    """Return the signal to error in dB without what the output's own rounding must cost.

    A softmax stored in steps of 1/256 can't tell 1,000 classes of about 0.001 apart; that is no fault of the
    conversion.
    """
    import numpy as np

    if grid is None:
        return snr(wanted, got)
    error = got.astype(np.float64) - wanted
    excess = np.sign(error) * np.maximum(0.0, np.abs(error) - grid / 2)
    return snr(wanted, wanted + excess)


def check(
    wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], *, recipe: str, grid: float | None
) -> Parity:
    """Compare outputs and hold them against the bar of the recipe's precision.

    Args:
        wanted: the float source's golden outputs.
        got: the artifact's.
        recipe: the recipe's name.
        grid: the step of a quantized output, or None.

    Raises:
        ParityError: something is not finite, or below the bar.
    """
    import numpy as np

    precision = recipe.rpartition("-")[2]
    bar = BARS[precision]
    if got.shape != wanted.shape:
        raise ParityError(f"{recipe} gives outputs of the shape {got.shape}, the source {wanted.shape}")
    if not np.isfinite(got).all():
        raise ParityError(
            f"{recipe} gives {int(got.size - np.isfinite(got).sum())} outputs that are not finite",
            hint="a value left the range of its precision: use fp32",
        )
    parity = measure(wanted, got, tie_step(wanted, precision, grid))
    found = beyond_grid(wanted, got, grid)
    if math.isnan(found) or found < bar.snr_db or parity.top1_agreement < bar.top1_agreement:
        raise ParityError(
            f"{recipe} differs from its source: {found:.1f} dB signal to error (bar {bar.snr_db:g}), "
            f"same top-1 on {parity.top1_agreement:.0%} of {len(wanted)} golden inputs "
            f"(bar {bar.top1_agreement:.0%})",
            hint=_hint(precision),
        )
    return parity


def _hint(precision: str) -> str:
    if precision in CALIBRATED:
        return (
            "a few channels may stretch a range that all share; use fp16, or calibrate on more typical inputs"
        )
    return "use a higher precision"
