"""How near the twin is to the float network: by what a user sees (the same answer), then by noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.source.freezing import snr

if TYPE_CHECKING:
    import numpy as np

GAIN_DB = 0.3
"""Less than this is chance."""
GOOD_DB = 40.0
"""A hundredth of the amplitude: beyond it nothing is tried any more."""
KEPT = 0.9
"""Of the answers: a network that loses more than one in ten is damaged. A choice, not a measurement."""
CERTAIN = 0.05
"""How probable it may be that chance alone took so many answers."""
NOISY_DB = 10.0
"""Noise of a tenth of the outputs' power: what answers do not tell of (one output, maps). A choice too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of a twin on calibration inputs, without labels.

    Attributes:
        agreement: the share of inputs with the same largest output, 0 to 1.
        snr_db: signal to noise of the outputs, each input's mean taken out, in dB.
        count: how many inputs.
    """

    agreement: float
    snr_db: float
    count: int

    def beats(self, other: Score) -> bool:
        """Tell whether this is better: less noise, and no more answers lost than chance takes."""
        lost = (other.agreement - self.agreement) * self.count
        return self.snr_db > other.snr_db + GAIN_DB and lost <= math.sqrt(self.count)

    @property
    def good(self) -> bool:
        """Whether there is nothing to win."""
        return self.agreement == 1.0 and self.snr_db >= GOOD_DB

    @property
    def damaged(self) -> bool:
        """Whether this twin is no longer the float network: too many answers lost, or outputs of noise."""
        return loses_answers(self.agreement, self.count) or not self.snr_db >= NOISY_DB

    def __str__(self) -> str:
        return f"{self.snr_db:.1f} dB, {self.agreement:.0%} of {self.count} the same"


def loses_answers(agreement: float, count: int) -> bool:
    """Tell whether more than one answer in ten is lost, by a one-sided exact binomial test.

    Args:
        agreement: the share of answers that are the float network's.
        count: how many answers were looked at; few must be worse to be believed.
    """
    same = round(agreement * count)
    chance = sum(math.comb(count, k) * KEPT**k * (1 - KEPT) ** (count - k) for k in range(same + 1))
    return chance < CERTAIN


def score(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> Score:
    """Compare outputs, N x outputs each."""
    import numpy as np

    if wanted.shape[1] > 1:
        same = wanted.argmax(axis=1) == got.argmax(axis=1)
        wanted, got = (o - o.mean(axis=1, keepdims=True) for o in (wanted, got))
    else:
        same = np.sign(wanted[:, 0]) == np.sign(got[:, 0])
    return Score(agreement=float(np.mean(same)), snr_db=snr(wanted, got), count=len(wanted))
