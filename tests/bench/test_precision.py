"""How narrow intervals are, when it is enough, and how much more it takes."""

import numpy as np
import pytest

from edgekit.bench import stats
from edgekit.bench.precision import Watch, half_width, precision
from edgekit.bench.summary import Estimate
from edgekit.errors import UsageError


def rows(seed, count, scatter=0.05):
    return (1e6 * (1 + scatter * np.random.default_rng(seed).normal(size=count))).tolist()


def test_narrow_intervals_are_enough():
    found = precision(rows(1, 2000), 0.02)
    assert (found.reached, found.steady, found.more, found.warmup) == (True, True, 0, 0)
    assert 0 < found.widths[0.5] < found.widths[0.95] < 0.02


def test_wide_ones_tell_how_many_more_would_do():
    samples = rows(2, 300, scatter=0.2)
    found = precision(samples, 0.02)
    assert not found.reached
    assert found.widths[0.95] > 0.02
    again = precision([*samples, *rows(3, found.more * 2, scatter=0.2)], 0.02)
    assert again.reached


def test_withheld_ones_are_not_enough():
    found = precision(rows(4, 50), 0.02)
    assert found.widths[0.95] is None
    assert (found.reached, found.more) == (False, 9)
    assert precision([], 0.02).more == 59


def test_a_run_that_is_not_steady_is_not_enough():
    samples = rows(5, 600, scatter=0.001)
    found = precision([*samples, *(s * 1.3 for s in rows(6, 300, scatter=0.001))], 0.5)
    assert not found.steady
    assert not found.reached


def test_warm_up_is_left_out():
    slow = [s * 1.5 for s in rows(7, 40)]
    found = precision([*slow[10:], *rows(8, 1000)], 0.02, warmup=slow[:10])
    assert found.warmup == pytest.approx(40, abs=1)
    assert precision(rows(8, 1000), 0.02, warmup=rows(9, 10)).warmup == 10


@pytest.mark.parametrize("target", [0, 1, -0.1, 2])
def test_a_target_that_makes_no_sense_is_refused(target):
    with pytest.raises(UsageError, match="can't be reached"):
        precision([], target)


def test_half_of_a_width_needs_a_width():
    assert half_width(None) is None
    assert half_width(Estimate(value=0, low=0, high=0)) is None
    assert half_width(Estimate(value=10, low=9, high=11)) == 0.1


def test_a_watch_says_when_and_stays_with_it():
    watch = Watch(0.01)
    watch.warm(rows(10, 10))
    samples = rows(11, 5000)
    told = [watch.add(samples[i : i + 50]) for i in range(0, 5000, 50)]
    assert told[0] is False
    assert told[-1] is True
    assert told == sorted(told)
    assert watch.found.warmup == 10


def test_a_watch_looks_seldom(monkeypatch):
    looks = []
    monkeypatch.setattr("edgekit.bench.precision.precision", lambda *a, **k: looks.append(1) or FAR)
    watch = Watch(0.01)
    for _ in range(1000):
        watch.add([1.0] * 50)
    assert len(looks) < 90


FAR = precision(rows(12, 100), 0.0001)


def test_stopping_costs_little_of_the_confidence():
    """Of intervals that were looked at until they were narrow enough, 95 % would hold if one looked once."""
    held = np.zeros(2)
    for seed in range(60):
        samples = np.random.default_rng(seed).lognormal(0, 0.2, 20_000)
        watch, taken = Watch(0.03), 0
        while not watch.add(samples[taken : taken + 50].tolist()):
            taken += 50
        kept = samples[: taken + 50]
        for place, (p, truth) in enumerate(((0.5, 1.0), (0.95, np.exp(0.2 * 1.6448536)))):
            found = stats.percentile(kept, p)
            held[place] += found.low <= truth <= found.high
    assert (held >= 60 * 0.85).all()
