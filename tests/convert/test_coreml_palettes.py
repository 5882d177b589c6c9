"""Palettes are as good as the best there are, to within 1 % of the squared error."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.convert.coreml_palettes import GROUPS, clustered

pytestmark = pytest.mark.convert
kmeans1d = pytest.importorskip("coremltools._deps", reason="the convert extra is not installed").kmeans1d


def squared_error(values, counts, clusters, means):
    return float((counts * (values - means[clusters]) ** 2).sum())


def best(values, counts, count):
    solved = kmeans1d.cluster(values, count, weights=counts)
    return np.asarray(solved.clusters), np.asarray(solved.centroids)


def halves(weight):
    values, counts = np.unique(weight.astype(np.float16), return_counts=True)
    return values.astype(np.float64), counts


SPREADS = {
    "normal": lambda rng: rng.normal(size=20000),
    "laplace": lambda rng: rng.laplace(size=20000) * 0.01,
    "two heaps": lambda rng: np.concatenate([rng.normal(-3, 0.1, 9000), rng.normal(2, 0.5, 9000)]),
    "far ones": lambda rng: np.concatenate([rng.normal(size=12000) * 0.02, [40.0, -900.0, 60000.0]]),
    "many the same": lambda rng: np.concatenate([np.zeros(50000), rng.uniform(-1, 1, 9000)]),
}


@pytest.mark.parametrize("count", [16, 64, 256])
@pytest.mark.parametrize("spread", SPREADS)
def test_the_squared_error_is_within_1_percent_of_the_least(spread, count, rng):
    values, counts = halves(SPREADS[spread](rng))
    clusters, means = clustered(values, counts, count)
    least = squared_error(values, counts, *best(values, counts, count))
    assert least * (1 - 1e-9) <= squared_error(values, counts, clusters, means) <= 1.01 * least
    assert set(clusters) == set(range(count))
    assert (np.diff(means) > 0).all()
    assert (np.diff(clusters) >= 0).all()
    nearest = np.searchsorted((means[1:] + means[:-1]) / 2, values)
    np.testing.assert_array_equal(clusters, nearest)
    for number in (0, count // 2, count - 1):
        inside = clusters == number
        assert means[number] == pytest.approx(np.average(values[inside], weights=counts[inside]))


@pytest.mark.parametrize("size", [16, 17, 16 * GROUPS])
def test_few_values_are_solved_exactly(size, rng):
    values = np.sort(rng.normal(size=size))
    counts = rng.integers(1, 9, size)
    for ours, exact in zip(clustered(values, counts, 16), best(values, counts, 16), strict=True):
        np.testing.assert_array_equal(ours, exact)


def test_the_same_values_give_the_same_palette(rng):
    values, counts = halves(rng.normal(size=20000))
    first, second = (clustered(values.copy(), counts.copy(), 64) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
