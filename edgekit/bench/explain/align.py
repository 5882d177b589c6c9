"""Aligning two sequences: what stands for the same keeps its order, and either may have more than the other.

Needleman and Wunsch, "A general method applicable to the search for similarities in the amino acid sequence
of two proteins", J. Mol. Biol. 48 (1970), with gaps that cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def align(
    left: int, right: int, score: Callable[[int, int], float]
) -> tuple[tuple[int | None, int | None], ...]:
    """Return the pairs of the best alignment, in order; None where one side has nothing.

    Args:
        left: how long the first sequence is.
        right: how long the second one is.
        score: how well the I-th of the first goes with the J-th of the second; 0 or less: not at all.
    """
    best = [[0.0] * (right + 1) for _ in range(left + 1)]
    scores = [[score(i, j) for j in range(right)] for i in range(left)]
    for i in range(left - 1, -1, -1):
        for j in range(right - 1, -1, -1):
            paired = best[i + 1][j + 1] + scores[i][j] if scores[i][j] > 0 else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    return tuple(_walk(best, scores))


def _walk(best: list[list[float]], scores: list[list[float]]) -> list[tuple[int | None, int | None]]:
    """Return the pairs along the best way through the table; a pair comes before a gap of equal worth."""
    left, right = len(best) - 1, len(best[0]) - 1
    pairs: list[tuple[int | None, int | None]] = []
    i = j = 0
    while i < left and j < right:
        if scores[i][j] > 0 and best[i][j] == best[i + 1][j + 1] + scores[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return [*pairs, *((k, None) for k in range(i, left)), *((None, k) for k in range(j, right))]
