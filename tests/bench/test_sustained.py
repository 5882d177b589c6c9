"""A run minute by minute."""

import numpy as np
import pytest

from edgekit.bench.summary import Estimate
from edgekit.bench.sustained import minute_curve, relative

MS = 1_000_000


def test_a_run_that_slows_down_shows_it():
    rng = np.random.default_rng(1)
    samples = (10 * MS * (1 + 0.02 * rng.normal(size=24_000)) * np.linspace(1, 1.2, 24_000)).astype(int)
    curve = minute_curve(samples.tolist())
    assert [minute.number for minute in curve.minutes] == [1, 2, 3, 4]
    assert sum(minute.count for minute in curve.minutes) == 24_000
    middles = [minute.p50_ms.value for minute in curve.minutes]
    assert middles == sorted(middles)
    assert curve.slowdown.low < middles[-1] / middles[0] - 1 < curve.slowdown.high
    assert curve.slowdown.low > 0.1


def test_a_steady_run_has_no_slowdown():
    samples = (10 * MS * (1 + 0.02 * np.random.default_rng(2).normal(size=15_000))).astype(int).tolist()
    curve = minute_curve(samples)
    assert curve.slowdown.low < 0 < curve.slowdown.high
    assert abs(curve.slowdown.value) < 0.01


def test_minutes_of_a_paced_run_go_by_its_period():
    curve = minute_curve([MS] * 240, period_ns=500 * MS)
    assert [minute.count for minute in curve.minutes] == [120, 120]


def test_less_than_half_a_minute_goes_to_the_one_before():
    assert minute_curve([500 * MS] * 140) is None
    assert [m.count for m in minute_curve([500 * MS] * 290).minutes] == [120, 170]
    assert [m.count for m in minute_curve([500 * MS] * 310).minutes] == [120, 120, 70]
    assert minute_curve([]) is None


def test_minutes_with_too_few_samples_are_withheld():
    curve = minute_curve([30_000 * MS] * 8)
    assert all(minute.p50_ms is minute.p95_ms is None for minute in curve.minutes)
    assert curve.slowdown is None


@pytest.mark.parametrize(("first", "last"), [(None, 1), (1, None), (0, 1)])
def test_without_two_figures_there_is_no_ratio(first, last):
    made = [None if v is None else Estimate(value=v, low=v, high=v) for v in (first, last)]
    assert relative(*made) is None


def test_the_ratios_interval_holds():
    """Ratios of normal means, whose intervals are known: 95 % of the joined intervals hold the true ratio."""
    rng = np.random.default_rng(3)
    held = 0
    for first, last in zip(rng.normal(10, 0.1, 4000), rng.normal(11, 0.2, 4000), strict=True):
        ends = [
            Estimate(value=v, low=v - 1.96 * s, high=v + 1.96 * s) for v, s in ((first, 0.1), (last, 0.2))
        ]
        found = relative(*ends)
        held += found.low <= 0.1 <= found.high
    assert 0.94 <= held / 4000 <= 0.96
