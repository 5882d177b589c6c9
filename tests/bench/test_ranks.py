"""Signed ranks, against the published tables, brute force and simulation."""

import itertools
import math
import statistics

import numpy as np
import pytest

from edgekit.bench.ranks import (
    EXACT,
    bounds,
    least_rank_sum,
    middle,
    rank_sum,
    rather_above,
    surely_above,
    surely_below,
)


@pytest.mark.parametrize(
    ("count", "level", "lower"),
    [(5, 0.05, 0), (7, 0.025, 2), (8, 0.025, 3), (10, 0.025, 8), (15, 0.01, 19), (20, 0.005, 37)],
)  # fmt: skip
def test_critical_values_are_those_of_the_tables(count, level, lower):
    """F. Wilcoxon, R. Wilcox, "Some rapid approximate statistical procedures", 1964: one-sided levels."""
    assert least_rank_sum(count, level) == count * (count + 1) / 2 - lower


def test_probabilities_are_those_of_all_signs():
    sums = sorted(
        sum(rank for rank, sign in enumerate(signs, 1) if sign)
        for signs in itertools.product((0, 1), repeat=9)
    )
    for level in (0.2, 0.05, 0.01, 0.002):
        least = least_rank_sum(9, level)
        assert sum(total >= least for total in sums) / len(sums) <= level
        assert sum(total >= least - 1 for total in sums) / len(sums) > level


def test_few_values_have_no_level_below_their_signs():
    assert math.isinf(least_rank_sum(7, 0.5**7 * 0.999))
    assert least_rank_sum(7, 0.5**7) == 28
    assert bounds([1, 2, 3, 4, 5, 6, 7], 0.01) is None


def test_many_values_go_on_where_counting_ends():
    """At the seam the normal distribution asks for hardly more than the counted one, and never for less."""
    for level in (0.05, 0.01, 0.001):
        spread = math.sqrt((EXACT + 1) * (EXACT + 2) * (2 * EXACT + 3) / 24)
        counted = (least_rank_sum(EXACT, level) - EXACT * (EXACT + 1) / 4) / math.sqrt(
            EXACT * (EXACT + 1) * (2 * EXACT + 1) / 24
        )
        normal = (least_rank_sum(EXACT + 1, level) - (EXACT + 1) * (EXACT + 2) / 4) / spread
        assert -0.005 <= normal - counted <= 0.04


def test_ranks_of_equal_distances_are_shared_and_the_point_itself_counts_half():
    assert rank_sum([1, -1, 2], 0) == 1.5 + 3
    assert rank_sum([0, 3], 0) == 0.5 + 2


@pytest.mark.parametrize("sizes", [(1,) * 8, (1, 1, 2, 2, 2, 3, 3, 3), (0, 0, 1, 1, 1, 2, 3, 4)])
def test_ties_never_help_a_claim(sizes):
    """Over all signs of distances that a coarse clock made equal, or none at all."""
    signed = [
        [sign * size for sign, size in zip(signs, sizes, strict=True)]
        for signs in itertools.product((-1, 1), repeat=8)
    ]
    for level in (0.2, 0.1, 0.05, 0.02, 0.005):
        assert sum(surely_above(values, 0, level) for values in signed) / len(signed) <= level
        assert sum(surely_below(values, 0, level) for values in signed) / len(signed) <= level
    assert surely_above(np.add(sizes, 1), 0, 0.005)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_the_middle_is_the_median_of_all_means(count):
    values = np.random.default_rng(count).normal(3, 1, count).tolist()
    means = [(a + b) / 2 for n, a in enumerate(values) for b in values[n:]]
    assert middle(values) == pytest.approx(statistics.median(means), abs=1e-8)


def test_bounds_are_ordered_means():
    """For n = 7 at 1/64 both ways: the least and the largest of all means are the values' own."""
    values = [0.3, -0.1, 0.7, 0.2, 0.9, -0.4, 0.5]
    assert bounds(values, 2 / 2**7) == pytest.approx((-0.4, 0.9), abs=1e-8)
    means = sorted((a + b) / 2 for n, a in enumerate(values) for b in values[n:])
    low, high = bounds(values, 0.1)
    skip = 28 - least_rank_sum(7, 0.05)
    assert (low, high) == pytest.approx((means[int(skip)], means[-1 - int(skip)]), abs=1e-8)


def test_tests_and_bounds_agree():
    rng = np.random.default_rng(4)
    for _ in range(50):
        values = rng.standard_t(2, 13).tolist()  # 91 means: one of them is the middle
        low, high = bounds(values, 0.05)
        assert surely_above(values, low - 1e-6, 0.025)
        assert not surely_above(values, low + 1e-6, 0.025)
        assert surely_below(values, high + 1e-6, 0.025)
        assert not surely_below(values, high - 1e-6, 0.025)
        assert rather_above(values, middle(values) - 1e-6)
        assert not rather_above(values, middle(values) + 1e-6)


def test_intervals_hold_as_often_as_they_say_with_heavy_tails():
    rng = np.random.default_rng(8)
    held = [
        low <= 1 <= high for low, high in (bounds(1 + rng.standard_cauchy(20), 0.05) for _ in range(1000))
    ]
    assert 0.92 <= statistics.fmean(held) <= 0.98
