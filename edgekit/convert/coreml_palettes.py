"""Palettes of weights: k-means in one dimension, all but solved exactly, with no chance in it.

The exact solution takes as long as values times clusters: 20 seconds for 256 values a weight of MobileNet v2.
Here neighbours are put together first, more of them where a palette has few entries anyway, and solved
exactly; then all borders between clusters are moved together among the values themselves, to the best place
within a few values of where they are, until none moves. The squared error stays within 1 % of the least one.

Sources: Groenlund et al., "Fast Exact k-Means, k-Medians and Bregman Divergence Clustering in 1D" (2017);
Panter and Dite, "Quantization Distortion in Pulse-Count Modulation with Nonuniform Spacing of Levels" (1951)
for the density of entries, the cube root of that of values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

GROUPS = 8
"""Groups of neighbours for each entry of a palette."""
_NEAR = 16
"""A border moves by so many values at most, at a time."""
_ROUNDS = 100
"""Far more than it takes (4 to 20): each makes the error less. Where none moves, each value is in the cluster
whose mean is nearest."""


def clustered(values: Array, counts: Array, count: int) -> tuple[Array, Array]:
    """Return each value's cluster, and the clusters' means in order.

    Args:
        values: float64, each once, in order.
        counts: how often each occurs.
        count: of the clusters, at most as many as there are values.
    """
    grouped = _groups(values, counts, GROUPS * count)
    if grouped[-1] < GROUPS * count // 2 or len(values) <= GROUPS * count:
        return _exact(values, counts, count)
    weights = np.bincount(grouped, counts)
    found, _ = _exact(np.bincount(grouped, counts * values) / weights, weights, count)
    borders = np.searchsorted(grouped, np.searchsorted(found, np.arange(count)))
    return _settled(values, counts, np.append(borders, len(values)))


def _exact(values: Array, counts: Array, count: int) -> tuple[Array, Array]:
    from coremltools._deps import kmeans1d

    solved = kmeans1d.cluster(values, count, weights=counts)
    return np.asarray(solved.clusters), np.asarray(solved.centroids)


def _groups(values: Array, counts: Array, count: int) -> Array:
    """Return each value's group, numbered in order without a gap: `count` at most, alike in cost."""
    cost = np.cumsum(np.cbrt(counts * np.gradient(values) ** 2))
    _, found = np.unique((cost / cost[-1] * count).astype(np.int64), return_inverse=True)
    return found


def _settled(values: Array, counts: Array, borders: Array) -> tuple[Array, Array]:
    """Move the borders between clusters until none moves, and return the clusters and their means."""
    totals = [np.concatenate([[0.0], np.cumsum(counts * values**power)]) for power in range(3)]
    for _ in range(_ROUNDS):
        moved = _moved(totals, borders)
        if np.array_equal(moved, borders):
            break
        borders = moved
    sizes, sums, _ = (total[borders[1:]] - total[borders[:-1]] for total in totals)
    return np.repeat(np.arange(len(sizes)), np.diff(borders)), sums / sizes


def _moved(totals: list[Array], borders: Array) -> Array:
    """Return the best borders of all that lie near these, by dynamic programming from cluster to cluster."""
    places = borders[:, None] + np.arange(-_NEAR, _NEAR + 1)
    places[0], places[-1] = borders[0], borders[-1]
    places = places.clip(borders[0], borders[-1])
    sizes, sums, squares = (t[places][1:, None, :] - t[places][:-1, :, None] for t in totals)
    errors = np.where(sizes > 0, squares - sums**2 / np.where(sizes > 0, sizes, 1.0), np.inf)
    least, came = errors[0, 0], []
    for error in errors[1:]:
        reached = least[:, None] + error
        came.append(reached.argmin(axis=0))
        least = reached.min(axis=0)
    found, at = borders.copy(), 0
    for index in range(len(came) - 1, -1, -1):
        at = came[index][at]
        found[index + 1] = places[index + 1, at]
    return found
