"""The gate: its quantiles, its words, and its errors in simulated noise."""

import math

import numpy as np
import pytest

from edgekit.bench.gate import block_effect, decide, decide_sides, looks_of, student_quantile
from edgekit.bench.gate_noise import DECIDABLE, SCENARIOS, latencies, simulate
from edgekit.errors import UsageError


@pytest.mark.parametrize(
    ("level", "free", "value"),
    [(0.05, 1, 6.314), (0.025, 2, 4.303), (0.01, 5, 3.365), (0.005, 10, 3.169), (0.025, 30, 2.042)],
)
def test_quantiles_are_those_of_the_tables(level, free, value):
    assert student_quantile(level, free) == pytest.approx(value, abs=6e-4)


def test_a_linear_drift_cancels_within_a_block():
    a1, b1, b2, a2 = (math.exp(0.02 * n) for n in range(4))
    assert block_effect((a1, a2), (b1, b2)) == pytest.approx(0, abs=1e-12)


def test_looks_end_at_the_limit_and_begin_at_three():
    assert looks_of(3) == (3,)
    assert looks_of(7) == (3, 4, 5, 6, 7)
    with pytest.raises(UsageError, match="2 rounds tell nothing"):
        looks_of(2)


def test_an_alarm_waits_for_fresh_rounds():
    slow = [0.0488 + 0.0002 * (n % 3) for n in range(40)]
    first = next(n for n in range(3, 40) if "alarm waits" in decide(slow[:n], gate=0.05).why)
    assert decide(slow[:first], gate=0.05).word == "no decision"
    told = decide(slow, gate=0.05)
    assert (told.word, told.final) == ("slower", True)
    assert told.blocks >= first + 3
    assert told.effect.low < 0.05 < told.effect.high or told.effect.value == pytest.approx(0.05, abs=1e-3)
    relapsed = slow[:first] + [0.0002 * (-1) ** n for n in range(40 - first)]
    assert decide(relapsed, gate=0.05).word != "slower"


def test_what_is_certain_but_far_below_the_gate_is_no_alarm():
    assert decide([0.01 + 0.0002 * (n % 2) for n in range(40)], gate=0.05).word == "not slower"


def test_a_gate_has_to_be_a_share():
    with pytest.raises(UsageError, match="gate"):
        decide([], gate=5)


def test_apart_runs_are_judged_by_what_differs_between_runs():
    assert decide_sides([1.0], [1.2], gate=0.05).word == "no decision"
    assert decide_sides([1.0], [1.2], gate=0.05).effect is None
    assert decide_sides([1, 1.001, 0.999, 1.0], [1.05, 1.051, 1.049, 1.05], gate=0.05).word == "slower"
    assert decide_sides([1, 1.001, 0.999, 1.0], [1.0, 1.001, 1.0, 0.999], gate=0.05).word == "not slower"
    assert decide_sides([1, 1.5, 0.8], [1.2, 0.9, 1.6], gate=0.05).word == "no decision"


def test_simulated_latencies_differ_by_what_was_asked():
    quiet = SCENARIOS["steady board"]
    made = np.log(latencies(quiet, 0.05, 2000, np.random.default_rng(1)))
    b = np.tile([False, True, True, False], 2000)
    assert made[b].mean() - made[~b].mean() == pytest.approx(math.log(1.05), abs=1e-3)
    assert made[~b].std() == pytest.approx(quiet.run, rel=0.05)


@pytest.mark.parametrize("name", SCENARIOS)
def test_errors_in_simulated_noise_keep_to_their_bounds(name):
    """150 comparisons: bounds leave room for chance (1 % alarms: 7 or more have a chance below 1e-3)."""
    rng = np.random.default_rng(list(name.encode()))
    same, slower = (
        [simulate(SCENARIOS[name], true, gate=0.05, rng=rng).word for _ in range(150)] for true in (0.0, 0.05)
    )
    assert same.count("slower") <= 6
    assert slower.count("not slower") <= 12
    if name in DECIDABLE:
        assert slower.count("slower") >= 0.95 * 150
