"""Percentiles and their intervals, against exact sums and against simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench import stats


def exact_coverage(count, p, low, high):
    """Return P(low <= B <= high - 1), B binomial, without rounding."""
    q = Fraction(p).limit_denominator(1000)
    terms = (math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(low, high))
    return float(sum(terms))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.95, 0.99])
def test_every_interval_keeps_its_confidence(p):
    for count in range(1, 301):
        ranks = stats.interval_ranks(count, p)
        if ranks is None:
            assert exact_coverage(count, p, 1, count) < 0.95
        else:
            assert 1 <= ranks[0] < ranks[1] <= count
            assert exact_coverage(count, p, *ranks) >= 0.95 - 1e-12


@pytest.mark.parametrize("p", [0.5, 0.95])
@pytest.mark.parametrize("count", [72, 100, 200, 299])
def test_no_rank_is_given_away(p, count):
    low, high = stats.interval_ranks(count, p)
    tail_low = 1 - exact_coverage(count, p, low + 1, count + 1)
    tail_high = 1 - exact_coverage(count, p, 0, high - 1)
    assert tail_low > 0.025
    assert tail_high > 0.025


def test_the_published_counts():
    assert (stats.least_samples(0.5), stats.least_samples(0.95)) == (6, 59)
    assert [stats.samples_needed(0.95, confidence=c) for c in (0.64, 0.95, 0.99)] == [20, 59, 90]
    loadgen = [stats.samples_needed(p, confidence=0.99, overshoots=1) for p in (0.9, 0.95, 0.99)]
    assert loadgen == [64, 130, 662]


@pytest.mark.parametrize("count", range(59, 72))
def test_between_59_and_71_the_largest_sample_bounds_p95(count):
    assert stats.interval_ranks(count, 0.95)[1] == count


def test_withheld_below_the_least_counts():
    samples = list(range(1, 59))
    assert stats.percentile(samples, 0.95) is None
    assert stats.percentile([*samples, 59], 0.95) is not None
    assert stats.percentile([1, 2, 3, 4, 5], 0.5) is None
    assert stats.percentile([], 0.5) is None
    six = stats.percentile([6, 1, 5, 2, 4, 3], 0.5)
    assert (six.value, six.low, six.high) == (3.5, 1, 6)


@pytest.mark.parametrize("count", [59, 71, 72, 200])
@pytest.mark.parametrize(("p", "normal"), [(0.5, 0.0), (0.95, 1.6448536269514722)])
def test_the_interval_covers_as_often_as_it_says(count, p, normal):
    rng = np.random.default_rng(20261122)
    trials = np.sort(rng.lognormal(0.0, 0.5, (3000, count)), axis=1)
    low, high = stats.interval_ranks(count, p)
    true = math.exp(0.5 * normal)
    share = float(np.mean((trials[:, low - 1] <= true) & (true <= trials[:, high - 1])))
    assert share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 3000)


@given(st.lists(st.integers(1, 10**12), min_size=6, max_size=400), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_point_lies_within(samples, p):
    found = stats.percentile(samples, p)
    if found is not None:
        assert found.low <= found.value <= found.high
        assert {found.low, found.high} <= {float(s) for s in samples}


@given(st.lists(st.integers(1, 10**9), min_size=6, max_size=100), st.integers(1, 1000), st.randoms())
def test_scale_and_order_do_not_matter(samples, factor, random):
    found = stats.percentile(samples, 0.5)
    shuffled = [s * factor for s in samples]
    random.shuffle(shuffled)
    other = stats.percentile(shuffled, 0.5)
    assert other.value == pytest.approx(found.value * factor)
    assert other.high == pytest.approx(found.high * factor)
    assert stats.spread(shuffled) == pytest.approx(stats.spread(samples))


@settings(max_examples=25)
@given(st.integers(2, 3000), st.floats(0.01, 0.99))
def test_the_binomial_sums_are_right(count, p):
    cdf = stats._binomial_cdf(count, p)
    k = count // 2
    terms = [
        math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1)
        + i * math.log(p) + (count - i) * math.log1p(-p)
        for i in range(k + 1)
    ]  # fmt: skip
    assert cdf[k] == pytest.approx(math.fsum(map(math.exp, terms)), abs=1e-9)
    assert cdf[-1] == pytest.approx(1.0, abs=1e-9)
    assert np.all(np.diff(cdf) >= 0)


def test_a_million_samples():
    low, high = stats.interval_ranks(1_000_000, 0.95)
    assert low == pytest.approx(950_000 - 1.96 * math.sqrt(47_500), abs=3)
    assert high == pytest.approx(950_000 + 1.96 * math.sqrt(47_500), abs=3)


def test_spread():
    assert stats.mad([]) == 0
    assert stats.mad([1, 1, 2, 2, 4, 6, 9]) == 1
    assert stats.spread([1, 1, 2, 2, 4, 6, 9]) == 0.5
    assert stats.spread([0, 0, 0]) == 0


def test_drift_needs_to_be_clear():
    calm = stats.drift([100, 101, 99] * 20)
    assert (calm.ratio, calm.clear) == (0, False)
    climbing = stats.drift([*[100] * 20, *[105] * 20, *[112] * 20])
    assert climbing.clear
    assert climbing.ratio == pytest.approx(0.12)
    wild = stats.drift([50, 150, 100, 60, 140, 90, *[100] * 6, 55, 160, 110, 65, 150, 120])
    assert not wild.clear
    assert stats.drift([1] * 17) is None
    assert stats.drift([0] * 60) is None


def test_outliers():
    assert stats.outlier_share([]) == 0
    assert stats.outlier_share([100] * 90 + [104] * 10) == 0
    assert stats.outlier_share([100] * 90 + [300] * 10) == pytest.approx(0.1)
    assert stats.outlier_share(list(range(100, 200))) == 0
