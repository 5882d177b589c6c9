"""Each method finds the range that its source says, from one pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.methods import BINS, METHODS, WITH_HISTOGRAM, Histogram, Tally, known_method
from edgekit.errors import UnknownNameError


def counted(values):
    """What the graph hands over for one input: an exponent and counts."""
    exponent = int(np.floor(np.log2(np.abs(values).max()))) + 1
    places = np.floor(values / 2.0**exponent * (BINS // 2)).astype(int) + BINS // 2
    return exponent, np.bincount(places, minlength=BINS)


def tally(*inputs):
    seen = Tally()
    for values in inputs:
        seen.see(float(values.min()), float(values.max()))
        seen.count(*counted(values))
    return seen


def normal(seed=0, scale=1.0, size=20_000):
    return np.random.default_rng(seed).normal(0, scale, size)


def quantized(values, low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    return np.clip(np.round((values - low) / step), 0, 255) * step + low


def test_an_unknown_method_names_the_nearest():
    assert [known_method(name) for name in METHODS] == list(METHODS)
    with pytest.raises(UnknownNameError, match="did you mean 'percentile'"):
        known_method("percentil")


@pytest.mark.parametrize("method", METHODS)
def test_a_range_is_never_wider_than_the_extremes_and_holds_most(method):
    inputs = [normal(seed, scale) for seed, scale in enumerate((1.0, 3.0, 0.5))]
    every = np.concatenate(inputs)
    low, high = tally(*inputs).range(method)
    assert every.min() <= low < high <= every.max()
    assert np.mean((every >= low) & (every <= high)) > 0.98


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_a_constant_is_its_own_range(method, value):
    seen = Tally()
    seen.see(value, value)
    assert seen.range(method) == (value, value)


def test_minmax_is_widened_and_never_overwritten():
    seen = Tally()
    for low, high in ((-1.0, 1.0), (-3.0, 0.5), (0.0, 2.0)):
        seen.see(low, high)
    assert seen.range("minmax") == (-3.0, 2.0)


def test_the_moving_average_is_that_of_its_definition():
    seen = Tally()
    lows, highs = [-1.0, -2.0, -4.0], [1.0, 5.0, 3.0]
    for low, high in zip(lows, highs, strict=True):
        seen.see(low, high)
    weights = np.array([0.99**2, 0.99, 1.0])
    expected = [float(np.average(v, weights=weights)) for v in (lows, highs)]
    assert seen.range("moving-average") == pytest.approx(expected)


def test_percentile_cuts_half_of_a_ten_thousandth_at_either_end():
    values = normal(size=200_000)
    values[:3] = 50.0
    low, high = tally(values).range("percentile")
    bin_width = 64 / (BINS // 2)
    assert low == pytest.approx(np.percentile(values, 0.005), abs=2 * bin_width)
    assert high == pytest.approx(np.percentile(values, 99.995), abs=2 * bin_width)
    assert high < 6


def test_mse_quantizes_better_than_the_extremes_where_there_are_outliers():
    values = normal(size=100_000)
    values[0] = 40.0
    low, high = tally(values).range("mse")

    def error(bottom, top):
        return float(np.mean((quantized(values, bottom, top) - values) ** 2))

    tried = [error(values.min(), top) for top in np.linspace(4, 40, 60)]
    assert error(low, high) < 0.9 * error(values.min(), 40.0)
    assert error(low, high) < 1.05 * min(tried)
    assert high < 40


def test_mse_leaves_an_even_distribution_alone():
    values = np.random.default_rng(3).uniform(0, 6, 50_000)
    low, high = tally(values).range("mse")
    assert low == pytest.approx(0.0, abs=0.01)
    assert high == pytest.approx(6.0, rel=0.02)


def test_entropy_cuts_a_lone_outlier():
    values = np.abs(normal(size=100_000))
    values[0] = 30.0
    low, high = tally(values).range("entropy")
    assert low == values.min()
    assert 1.5 < high < 10


def test_a_method_with_a_histogram_needs_one():
    seen = Tally()
    seen.see(0.0, 1.0)
    for method in WITH_HISTOGRAM:
        with pytest.raises(UnknownNameError):
            seen.range(method)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), st.integers(0, 2**31))
def test_one_pass_counts_what_one_histogram_of_everything_counts(scales, seed):
    generator = np.random.default_rng(seed)
    inputs = [generator.uniform(-scale, scale, 200) for scale in scales]
    exponent = max(counted(values)[0] for values in inputs)
    whole = np.zeros(BINS, int)
    for values in inputs:
        places = np.floor(values / 2.0**exponent * (BINS // 2)).astype(int) + BINS // 2
        whole += np.bincount(places, minlength=BINS)
    merged = tally(*inputs).histogram
    assert merged.exponent == exponent
    assert np.array_equal(merged.counts, whole)


def test_edges_hold_the_bins():
    edges = Histogram(exponent=3, counts=np.zeros(BINS, int)).edges()
    assert (edges[0], edges[BINS // 2], edges[-1]) == (-8.0, 0.0, 8.0)
    assert len(edges) == BINS + 1
