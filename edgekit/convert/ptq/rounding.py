"""Round weights so that an operation's outputs stay, not each weight.

One weight after another is rounded, and those that are left make up for its error as far as the inputs allow.
Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(2023), section 3; the order by the diagonal is theirs too. What a bias can make up for (the inputs' mean) is
left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.ptq.grids import LEVELS, weight_steps

if TYPE_CHECKING:
    import numpy as np

_DAMPING = 0.01
_BLOCK = 64


def rounded_together(rows: np.ndarray[Any, Any], covariance: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights on their grids, rounded so that the outputs' expected squared error is small.

    The largest weight of each output stays what it is, so that the grid does.

    Args:
        rows: groups x outputs x inputs.
        covariance: groups x inputs x inputs.
    """
    import numpy as np

    steps = weight_steps(rows)
    diagonal = np.einsum("gii->gi", covariance)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    units = np.take_along_axis((rows / steps).swapaxes(1, 2), order[:, :, None], axis=1)
    spread = np.take_along_axis(np.take_along_axis(covariance, order[:, :, None], 1), order[:, None, :], 2)
    found = np.empty(units.shape)
    np.put_along_axis(found, order[:, :, None], _one_by_one(units, _shares(spread)), axis=1)
    return np.asarray(found.swapaxes(1, 2) * steps)


def _shares(spread: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what each weight takes over of each earlier one's error: groups x inputs x inputs.

    With the damped covariance RR', R upper triangular, the outputs' error is that of R' times the weights'
    errors: a weight is best where its row comes to 0. These are the paper's steps without an inverse.
    """
    import numpy as np

    size = spread.shape[-1]
    mean = np.einsum("gii->g", spread) / size
    largest = max(float(mean.max()), 1e-12)
    damping = np.maximum(_DAMPING * mean, 1e-6 * largest)
    damped = spread[:, ::-1, ::-1].astype(np.float64)  # of it, the lower half is looked at
    damped.reshape(len(spread), -1)[:, :: size + 1] += damping[:, None]
    root = np.linalg.cholesky(damped)[:, ::-1, ::-1].swapaxes(1, 2)
    found: np.ndarray[Any, Any] = np.divide(root, np.einsum("gii->gi", root)[:, :, None], order="C")
    return found


def _one_by_one(units: np.ndarray[Any, Any], shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Round weights in steps, groups x inputs x outputs; those at the end of their grid stay there."""
    import numpy as np

    found: np.ndarray[Any, Any] = np.clip(np.rint(units), -LEVELS, LEVELS)
    fixed = np.abs(units) >= LEVELS * (1 - 1e-6)
    errors = np.zeros(units.shape)
    for begin in range(0, units.shape[1], _BLOCK):
        end = min(begin + _BLOCK, units.shape[1])
        wanted = units[:, begin:end] + shares[:, begin:end, :begin] @ errors[:, :begin]
        for place in range(begin, end):
            target = wanted[:, place - begin]
            if place > begin:
                target += (shares[:, place : place + 1, begin:place] @ errors[:, begin:place])[:, 0]
            taken = np.clip(np.rint(target), -LEVELS, LEVELS)
            np.copyto(found[:, place], taken, where=~fixed[:, place])
            np.subtract(units[:, place], found[:, place], out=errors[:, place])
    return found
