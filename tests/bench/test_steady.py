"""Where steady state begins: found where it is known, and hardly ever where nothing changes."""

import itertools
import math

import numpy as np
import pytest

from edgekit.bench import steady
from edgekit.bench.steady import change_points, find_steady, long_run_deviation, normal_scores


def noise(rng, count, rho=0.0):
    row = rng.normal(size=count)
    for i in range(1, count):
        row[i] = rho * row[i - 1] + math.sqrt(1 - rho * rho) * row[i]
    return row


CALM = {
    "normal": lambda rng, n: 10 + 0.3 * rng.normal(size=n),
    "skewed": lambda rng, n: 10 * rng.lognormal(0, 0.3, n),
    "bimodal": lambda rng, n: np.where(rng.random(n) < 0.3, 14, 10) + 0.1 * rng.normal(size=n),
    "outliers": lambda rng, n: 10 + 0.1 * rng.normal(size=n) + 20 * (rng.random(n) < 0.03),
    "correlated, 0.3": lambda rng, n: 10 + 0.5 * noise(rng, n, 0.3),
    "correlated, 0.6": lambda rng, n: 10 + 0.1 * noise(rng, n, 0.6),
}


@pytest.mark.parametrize("count", [210, 1000])
@pytest.mark.parametrize("name", CALM)
def test_false_alarms_are_rare(name, count):
    rng = np.random.default_rng(2026)
    found = [find_steady(CALM[name](rng, count)) for _ in range(200)]
    assert sum(len(one.levels) > 1 for one in found) <= 200 * 0.05
    assert sum(not one.reached or one.begins > 0 for one in found) <= 200 * 0.02


@pytest.mark.parametrize("count", [210, 1000, 20_000])
def test_a_slow_start_is_found_where_it_ends(count):
    rng = np.random.default_rng(5)
    begins = []
    for _ in range(20):
        row = 10 + 0.1 * rng.normal(size=count)
        row[: count // 10] *= 1.1
        begins.append(find_steady(row).begins)
    assert begins == pytest.approx([count // 10] * 20, abs=4)


def test_a_warm_up_that_fades_ends_where_it_has_faded():
    rng = np.random.default_rng(6)
    fading = 3 * np.exp(-np.arange(210) / 8.0)
    begins = [find_steady(10 + 0.1 * rng.normal(size=210) + fading).begins for _ in range(100)]
    # 2 % of 10 is left after 8 x log(15) = 22 invocations.
    assert 18 <= np.median(begins) <= 30
    assert min(begins) > 10


def test_a_boost_that_ends_early_is_left_out_too():
    row = 10 + 0.1 * noise(np.random.default_rng(7), 500)
    row[:100] *= 0.8
    found = find_steady(row)
    assert (found.begins, found.reached) == (100, True)
    assert [round(level) for _, level in found.levels] == [8, 10]


@pytest.mark.parametrize("shape", ["late step", "ramp", "stairs"])
def test_what_moves_to_the_end_is_never_steady(shape):
    place = np.arange(1000) / 1000
    moves = {
        "late step": 1 + 0.2 * (place > 0.7),
        "ramp": 1 + 0.1 * place,
        "stairs": 1 + 0.1 * (place * 4 // 1),
    }
    rng = np.random.default_rng(8)
    for _ in range(20):
        found = find_steady(10 * moves[shape] * (1 + 0.01 * rng.normal(size=1000)))
        assert not found.reached
        assert found.share < steady.SHARE
        assert found.begins == 0


def test_an_excursion_and_back_ends_nothing():
    row = 10 + 0.1 * noise(np.random.default_rng(9), 1000)
    row[500:550] *= 1.5
    found = find_steady(row)
    assert len(found.levels) == 3
    assert (found.begins, found.reached) == (0, True)


def test_a_change_that_is_too_small_to_matter_is_none():
    row = 10 + 0.01 * noise(np.random.default_rng(10), 1000)
    row[:300] *= 1.015
    found = find_steady(row)
    assert len(found.levels) == 2
    assert found.begins == 0


def test_outliers_do_not_hide_a_change():
    rng = np.random.default_rng(11)
    row = 10 + 0.1 * rng.normal(size=600) + 500 * (rng.random(600) < 0.05)
    row[:100] += 1
    assert find_steady(row).begins == pytest.approx(100, abs=3)


@pytest.mark.parametrize("series", [[], [5], [5] * 15, [5] * 100, [0] * 100])
def test_too_few_or_equal_ones_are_steady(series):
    found = find_steady(series)
    assert (found.begins, found.reached, found.share) == (0, True, 1.0)


def test_the_search_finds_the_least_sum_of_squares():
    """Against all segmentations of a short series."""
    rng = np.random.default_rng(12)
    for _ in range(20):
        row = rng.normal(size=9) * 3
        costs = {}
        for mask in range(1 << 8):
            edges = [0, *(i + 1 for i in range(8) if mask >> i & 1), 9]
            parts = [row[a:b] for a, b in itertools.pairwise(edges)]
            costs[tuple(edges[1:-1])] = sum(((p - p.mean()) ** 2).sum() + 4.0 for p in parts)
        assert tuple(steady._pelt(row, 4.0)) == min(costs, key=costs.get)


def test_scores_are_those_of_ranks():
    scores = normal_scores(np.array([3.0, 1.0, 2.0, 1e9]))
    assert scores.argsort().tolist() == [1, 2, 0, 3]
    assert scores.sum() == pytest.approx(0, abs=1e-9)
    assert normal_scores(np.ones(8)).tolist() == [0] * 8


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_the_noise_is_told_although_its_level_moves(rho):
    rng = np.random.default_rng(13)
    rows = [noise(rng, 2000, rho) + 5 * (np.arange(2000) > 700) for _ in range(30)]
    found = np.mean([long_run_deviation(row) for row in rows])
    assert math.sqrt((1 + rho) / (1 - rho)) * 0.9 < found < math.sqrt((1 + rho) / (1 - rho)) * 1.5


def test_change_points_of_a_long_series_are_placed_to_the_sample():
    rng = np.random.default_rng(14)
    row = rng.normal(size=30_000)
    row[12_345:] += 3
    assert change_points(row) == pytest.approx([12_345], abs=2)
