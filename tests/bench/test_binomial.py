"""Ranks that enclose a percentile: against printed tables, exact sums and MLPerf's counts."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench import binomial

# As printed in textbooks' tables "Confidence Intervals for the Population Median": n, ranks, confidence in
# percent; of each n the interval whose confidence is 95 % or the next above.
MEDIAN = [
    (6, (1, 6), 96.9), (7, (1, 7), 98.4), (8, (1, 8), 99.2), (9, (2, 8), 96.1), (10, (2, 9), 97.9),
    (11, (2, 10), 98.8), (12, (3, 10), 96.1), (13, (3, 11), 97.8), (14, (3, 12), 98.7), (15, (4, 12), 96.5),
    (16, (4, 13), 97.9), (17, (5, 13), 95.1), (18, (5, 14), 96.9), (19, (5, 15), 98.1), (20, (6, 15), 95.9),
]  # fmt: skip


def exact_coverage(count, p, low, high):
    """Return P(low <= B <= high - 1), B binomial, without rounding."""
    q = Fraction(p).limit_denominator(1000)
    terms = (math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(low, high))
    return float(sum(terms))


@pytest.mark.parametrize(("count", "ranks", "percent"), MEDIAN)
def test_the_printed_table_of_the_median(count, ranks, percent):
    assert binomial.interval_ranks(count, 0.5) == ranks
    assert 100 * exact_coverage(count, 0.5, *ranks) == pytest.approx(percent, abs=0.06)


def test_the_published_counts():
    assert [binomial.least_samples(p) for p in (0.5, 0.9, 0.95, 0.99)] == [6, 29, 59, 299]
    assert [binomial.samples_needed(p) for p in (0.9, 0.95, 0.99)] == [29, 59, 299]  # Wilks 1941
    assert [binomial.samples_needed(0.95, confidence=c) for c in (0.64, 0.95, 0.99)] == [20, 59, 90]
    loadgen = [binomial.samples_needed(p, confidence=0.99, overshoots=1) for p in (0.9, 0.95, 0.99)]
    assert loadgen == [64, 130, 662]


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.95, 0.99])
def test_every_interval_keeps_its_confidence(p):
    for count in range(1, 301):
        ranks = binomial.interval_ranks(count, p)
        if ranks is None:
            assert exact_coverage(count, p, 1, count) < 0.95
        else:
            assert 1 <= ranks[0] < ranks[1] <= count
            assert exact_coverage(count, p, *ranks) >= 0.95 - 1e-12


@pytest.mark.parametrize("p", [0.5, 0.95])
@pytest.mark.parametrize("count", [72, 100, 200, 299])
def test_no_rank_is_given_away(p, count):
    low, high = binomial.interval_ranks(count, p)
    tail_low = 1 - exact_coverage(count, p, low + 1, count + 1)
    tail_high = 1 - exact_coverage(count, p, 0, high - 1)
    assert tail_low > 0.025
    assert tail_high > 0.025


@pytest.mark.parametrize("count", range(59, 72))
def test_between_59_and_71_the_largest_sample_bounds_p95(count):
    assert binomial.interval_ranks(count, 0.95)[1] == count


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95])
def test_ends_between_ranks_lie_within_the_whole_ones(p):
    for count in range(binomial.least_samples(p), 400, 7):
        low, high = binomial.rank_interval(count, p)
        whole = binomial.interval_ranks(count, p)
        assert whole == (math.floor(low), math.ceil(high))
        other = binomial.rank_interval(count, 1 - p)
        assert other == pytest.approx((count + 1 - high, count + 1 - low))


def test_the_interpolation_of_hettmansperger_and_sheather():
    """For the median Nyblom's weight is theirs: (n - r) I / (r + (n - 2 r) I)."""
    count, low = 17, 5
    tails = [exact_coverage(count, 0.5, 0, r) for r in (low, low + 1)]
    share = (0.025 - tails[0]) / (tails[1] - tails[0])
    weight = (count - low) * share / (low + (count - 2 * low) * share)
    assert binomial.rank_interval(count, 0.5)[0] == pytest.approx(low + weight)


@settings(max_examples=25)
@given(st.integers(2, 3000), st.floats(0.01, 0.99))
def test_the_binomial_sums_are_right(count, p):
    cdf = binomial.binomial_cdf(count, p)
    k = count // 2
    terms = [
        math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1)
        + i * math.log(p) + (count - i) * math.log1p(-p)
        for i in range(k + 1)
    ]  # fmt: skip
    assert cdf[k] == pytest.approx(math.fsum(map(math.exp, terms)), abs=1e-9)
    assert cdf[-1] == pytest.approx(1.0, abs=1e-9)
    assert (cdf[1:] >= cdf[:-1]).all()


def test_a_million_samples():
    low, high = binomial.interval_ranks(1_000_000, 0.95)
    assert low == pytest.approx(950_000 - 1.96 * math.sqrt(47_500), abs=3)
    assert high == pytest.approx(950_000 + 1.96 * math.sqrt(47_500), abs=3)


def test_no_sample_backs_nothing():
    assert binomial.interval_ranks(0, 0.5) is None
    assert binomial.rank_interval(5, 0.5) is None
