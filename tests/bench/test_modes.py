"""Two modes: the dip against published and brute-force values, and what raises an alarm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.modes import DIP_LIMIT, dip, find_modes, split

# Quality of 63 statistics faculties, the example of Hartigan and Hartigan (1985): the dip is 5 / 84.
FACULTIES = (
    "30 33 35 36 37 37 39 39 39 39 39 40 40 40 40 41 42 43 43 43 44 44 45 45 46 47 47 48 48 48 49 50 50 51 "
    "52 52 53 53 53 53 53 54 54 57 57 59 60 60 60 61 61 61 61 62 62 62 62 63 66 70 72 72 72"
)


def test_the_published_example():
    values = np.array([float(word) for word in FACULTIES.split()])
    assert dip(values) == pytest.approx(5 / 84)


def test_the_dips_of_known_shapes():
    assert dip(np.arange(100.0)) == pytest.approx(1 / 200)
    assert dip(np.repeat([0.0, 1.0], 50)) == pytest.approx(1 / 4)
    assert dip(np.repeat([0.0, 1.0], [90, 10])) == pytest.approx(1 / 20)
    assert dip(np.zeros(10)) == pytest.approx(1 / 20)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=80), st.integers(1, 9), st.integers(-5, 5))
def test_scale_and_place_do_not_matter(values, factor, shift):
    ordered = np.sort(np.array(values, dtype=float))
    found = dip(ordered)
    assert 0.5 / len(values) <= found + 1e-12
    assert found <= 0.25 + 1e-12
    assert dip(ordered * factor + shift) == pytest.approx(found)
    assert dip(-ordered[::-1]) == pytest.approx(found)


def alarms(make, trials=150):
    rng = np.random.default_rng(2026)
    found = [find_modes(make(rng)) for _ in range(trials)]
    return sum(one is not None and one.clear for one in found) / trials


@pytest.mark.parametrize("count", [60, 200, 1000])
def test_a_single_mode_raises_one_alarm_in_a_hundred_or_fewer(count):
    limits = [dip(np.sort(row)) * count**0.5 for row in np.random.default_rng(1).random((300, count))]
    assert np.mean(np.array(limits) > DIP_LIMIT) <= 0.02
    assert alarms(lambda rng: 10 + rng.normal(size=count)) <= 0.01
    assert alarms(lambda rng: rng.lognormal(0, 0.5, count)) <= 0.01
    assert alarms(lambda rng: 10 + 0.2 * rng.normal(size=count) + 30 * (rng.random(count) < 0.02)) <= 0.01


def test_two_modes_are_found():
    def two(rng):
        return np.where(rng.random(200) < 0.3, 12, 10) + 0.2 * rng.normal(size=200)

    assert alarms(two) > 0.95
    found = find_modes(two(np.random.default_rng(4)))
    assert found.clear
    assert found.apart == pytest.approx(0.2, abs=0.02)
    assert found.share == pytest.approx(0.3, abs=0.1)


def test_outliers_are_not_taken_for_the_slow_mode():
    rng = np.random.default_rng(5)
    row = np.where(rng.random(500) < 0.4, 12, 10) + 0.2 * rng.normal(size=500)
    row[::100] = 1000
    found = find_modes(row)
    assert found.clear
    assert found.slow == pytest.approx(12, abs=0.2)


def test_too_few_or_equal_ones_have_no_modes():
    assert find_modes([1, 2] * 9) is None
    assert find_modes([5] * 100) is None
    assert find_modes([0] * 30 + [1] * 30).apart == 0


def test_groups_part_where_the_squares_are_least():
    assert split(np.array([1.0, 1, 1, 9, 9])) == 3
    assert split(np.array([1.0, 2, 3, 20])) == 3
