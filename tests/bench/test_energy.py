"""Energy against analytic truth: steps, noise, drift, wraps; and intervals that hold what they say."""

import itertools
import math
import random
import statistics

import pytest

from edgekit.bench.energy import (
    NS,
    counter_level,
    half_width,
    power_level,
    signed_rank_interval,
    unwrapped,
)

S = NS


def sampled(power, begin, end, period, rng=None):
    """Times (ns) and values of a power (watts by seconds) read every `period` seconds, dithered."""
    times, values, t = [], [], begin + period / 2
    while t < end:
        times.append(t * S)
        values.append(power(t))
        t += period * (rng.uniform(0.75, 1.25) if rng else 1.0)
    return times, values


def test_a_constant_power_is_exact():
    times, values = sampled(lambda _: 2.5, 0, 10, 0.02)
    level = power_level(times, values, [(0, 10 * S)], 0)
    assert level.watts == pytest.approx(2.5, abs=1e-12)
    assert level.u_w == 0
    assert level.count == len(times)
    assert level.seconds == 10


def test_a_ramp_is_exact_but_for_its_ends():
    times, values = sampled(lambda t: 1 + 0.3 * t, 0, 10, 0.01)
    level = power_level(times, values, [(2 * S, 6 * S)], 0)
    assert level.watts == pytest.approx(1 + 0.3 * 4, rel=1e-4)


@pytest.mark.parametrize("period", [0.02, 0.05, 0.2])
def test_a_stepped_current_lies_within_its_interval(period):
    def power(t):
        return 5.1 * (1.8 if 3 <= t < 7.0137 else 0.6)

    truth = 5.1 * (1.8 * 4.0137 + 0.6 * 5.9863) / 10
    rng, misses = random.Random(3), 0
    for _ in range(200):
        times, values = sampled(power, rng.uniform(0, period), 10, period, rng)
        level = power_level(times, values, [(0, 10 * S)], 0)
        misses += abs(level.watts - truth) > half_width([level.u_w], [])
        assert level.watts == pytest.approx(truth, rel=0.2 * period)
    assert misses <= 10  # 95 %


def test_noise_is_covered_as_promised():
    rng, misses, widths = random.Random(11), 0, []
    for _ in range(1000):
        times, values = sampled(lambda _: rng.gauss(3.0, 0.2), 0, 4, 0.04, rng)
        level = power_level(times, values, [(0, 2 * S), (2 * S, 4 * S)], 0.001 * S)
        half = half_width([level.u_w], [])
        widths.append(half)
        misses += abs(level.watts - 3.0) > half
    assert misses <= 65  # 5 % and two standard deviations
    assert statistics.fmean(widths) < 3 * 1.96 * 0.2 / math.sqrt(100)  # and no wider than noise deserves


def test_a_slow_change_is_not_taken_for_noise():
    times, values = sampled(lambda t: 3 + t, 0, 10, 0.01)
    level = power_level(times, values, [(0, 10 * S)], 0)
    assert level.u_w < 0.001


def test_a_reading_that_means_a_time_outside_is_left_out():
    times, values = [1.0 * S, 1.05 * S, 1.5 * S], [9.0, 2.0, 2.0]
    level = power_level(times, values, [(1.0 * S, 2.0 * S)], 0.1 * S)
    assert level.watts == 2.0
    assert level.count == 2
    assert power_level(times, values, [(5 * S, 6 * S)], 0.1 * S) is None


def test_new_values_are_counted_by_the_interval_or_by_what_is_seen():
    times, values = sampled(lambda t: float(int(t)), 0, 10, 0.1)
    assert power_level(times, values, [(0, 10 * S)], 0).fresh == 9
    assert power_level(times, values, [(0, 10 * S)], 1.0 * S).fresh == 10
    assert power_level(times, values, [(0, 10 * S)], 0.01 * S).fresh == len(
        [t for t in times if 0.005 * S <= t <= 9.995 * S]
    )


def test_a_counter_is_read_between_its_changes():
    times = [i * 0.01 * S for i in range(1000)]
    joules = [4.0 * math.floor(t / S / 0.1) * 0.1 for t in times]  # 4 W, a new value every 100 ms
    level = counter_level(times, joules, [(1 * S, 3 * S), (4 * S, 6 * S)], 0.1 * S)
    assert abs(level.watts - 4.0) <= half_width([level.u_w], [])
    assert level.fresh > 30
    assert 0 < level.u_w < 0.02
    assert counter_level(times, [1.0] * 1000, [(1 * S, 3 * S)], 0.1 * S) is None


def test_a_counter_that_begins_anew_goes_on():
    assert unwrapped([90, 98, 3, 9, 1], 100) == [90, 98, 103, 109, 201]
    assert unwrapped([5, 3], 0) == [5, 3]
    assert unwrapped([], 10) == []


def test_bounds_and_noise_add_as_squares():
    assert half_width([3.0, 4.0], []) == pytest.approx(1.959964 * 5)
    assert half_width([], [math.sqrt(3)]) == pytest.approx(1.959964)
    rng, misses = random.Random(5), 0
    for _ in range(4000):  # a bound of which nothing more is known, beside noise
        error = rng.uniform(-0.05, 0.05) + rng.gauss(0, 0.02)
        misses += abs(error) > half_width([0.02], [0.05])
    assert misses / 4000 < 0.05


@pytest.mark.parametrize(("count", "skip"), [(6, 1), (8, 4), (10, 9), (12, 14), (20, 53)])
def test_the_signed_rank_interval_has_the_published_ranks(count, skip):
    # Hollander and Wolfe, table A.4: the critical values of T+ at 2.5 %.
    values = [float(2**i) for i in range(count)]
    averages = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    assert signed_rank_interval(values)[1] == averages[skip - 1]
    assert signed_rank_interval(values)[2] == averages[-skip]


def test_too_few_pairs_back_nothing():
    assert signed_rank_interval([0.1] * 5) is None
    assert signed_rank_interval([]) is None


def test_the_signed_rank_interval_covers_and_one_disturbed_pair_does_not_move_it():
    rng, misses = random.Random(7), 0
    for _ in range(2000):
        _, low, high = signed_rank_interval([rng.gauss(0.01, 0.02) for _ in range(8)])
        misses += not low <= 0.01 <= high
    assert misses / 2000 < 0.05 + 0.01
    point, _, _ = signed_rank_interval([0.01, 0.012, 0.009, 0.011, 0.010, 0.010, 0.008, 5.0])
    assert point < 0.02


def test_levels_of_windows_add_up_by_their_length():
    times, values = sampled(lambda t: 1.0 if t < 3 else 5.0, 0, 4, 0.01)
    level = power_level(times, values, [(0, 2 * S), (3 * S, 4 * S)], 0)
    assert level.watts == pytest.approx((1.0 * 2 + 5.0) / 3)
    assert all(a < b for a, b in itertools.pairwise(times))
