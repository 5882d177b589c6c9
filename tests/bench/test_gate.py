"""The gate: its quantiles, its words, and its errors in simulated noise."""

import math

import numpy as np
import pytest

from edgekit.bench.gate import block_effect, decide, decide_sides, looks_of, side_of, student_quantile
from edgekit.bench.gate_noise import SCENARIOS, latencies, random_noise, simulate
from edgekit.errors import UsageError


@pytest.mark.parametrize(
    ("level", "free", "value"),
    [(0.05, 1, 6.314), (0.025, 2, 4.303), (0.01, 5, 3.365), (0.005, 10, 3.169), (0.025, 30, 2.042)],
)
def test_quantiles_are_those_of_the_tables(level, free, value):
    assert student_quantile(level, free) == pytest.approx(value, abs=6e-4)


def test_a_linear_drift_cancels_within_a_block():
    drift = [math.exp(0.02 * n) for n in range(4)]
    assert block_effect(drift, turned=False) == pytest.approx(0, abs=1e-12)
    assert block_effect([1, 1.1, 1.1, 1], turned=False) == pytest.approx(math.log(1.1))
    assert block_effect([1.1, 1, 1, 1.1], turned=True) == pytest.approx(math.log(1.1))
    assert [side_of(place, turned=True) for place in range(4)] == [1, 0, 0, 1]


def test_looks_end_at_the_limit_and_begin_at_seven():
    assert looks_of(7) == (7,)
    assert looks_of(12) == (7, 10, 12)
    assert looks_of(14) == (7, 10, 14)
    with pytest.raises(UsageError, match="6 rounds tell nothing"):
        looks_of(6)


def test_an_alarm_waits_for_fresh_rounds():
    slow = [0.0488 + 0.0002 * (n % 3) for n in range(64)]
    first = next(n for n in range(3, 64) if "alarm waits" in decide(slow[:n], gate=0.05).why)
    assert (first, decide(slow[: first + 4], gate=0.05).word) == (7, "no decision")
    told = decide(slow, gate=0.05)
    assert (told.word, told.final, told.blocks, told.needed) == ("slower", True, first + 5, None)
    assert told.effect.low <= told.effect.value <= told.effect.high
    assert told.effect.value == pytest.approx(0.05, abs=1e-3)
    relapsed = slow[:first] + [0.0002 * (-1) ** n for n in range(64 - first)]
    assert decide(relapsed, gate=0.05).word != "slower"


def test_the_interval_is_that_of_the_last_look_wherever_it_ends():
    noisy = np.random.default_rng(2).normal(0.02, 0.2, 64).tolist()
    assert decide(noisy[:6], gate=0.05).effect is None
    assert decide(noisy[:7], gate=0.05).effect == decide(noisy[:9], gate=0.05).effect
    assert decide(noisy[:10], gate=0.05).effect != decide(noisy[:9], gate=0.05).effect


def test_no_decision_says_how_many_rounds_would_do():
    """Twice the noise, four times the rounds; and that many do decide."""
    rng = np.random.default_rng(3)
    needed = []
    for spread in (0.15, 0.3):
        told = decide(rng.normal(0, spread, 64).tolist(), gate=0.05)
        assert (told.word, told.final) == ("no decision", True)
        assert "noise between runs" in told.why
        needed.append(told.needed)
    assert 2.5 <= needed[1] / needed[0] <= 6
    more = rng.normal(0, 0.15, 2 * needed[0]).tolist()
    assert decide(more, gate=0.05, rounds=len(more)).word == "not slower"


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
    made = np.log(latencies(quiet, 0.05, [False, True] * 1000, np.random.default_rng(1)))
    b = np.tile([False, True, True, False, True, False, False, True], 1000)
    assert made[b].mean() - made[~b].mean() == pytest.approx(math.log(1.05), abs=1e-3)
    assert made[~b].std() == pytest.approx(quiet.run, rel=0.05)


def judged(noise, true, rng, times):
    """Return the words of comparisons, the share of intervals that held the truth, all at a gate of 5 %."""
    told = [simulate(noise() if callable(noise) else noise, true, gate=0.05, rng=rng) for _ in range(times)]
    held = [d.effect.low <= true <= d.effect.high for d in told]
    return [d.word for d in told], sum(held) / times


@pytest.mark.parametrize("name", [*(n for n, noise in SCENARIOS.items() if noise.rounds <= 1000), "random"])
def test_errors_in_simulated_noise_keep_to_their_bounds(name):
    """100 comparisons: bounds leave room for chance (1 % alarms: 6 or more have a chance below 1e-3)."""
    rng = np.random.default_rng(list(name.encode()))
    noise = SCENARIOS.get(name) or (lambda: random_noise(rng))
    same, held = judged(noise, 0.0, rng, 100)
    slower, _ = judged(noise, 0.05, rng, 100)
    assert same.count("slower") <= 5
    assert slower.count("not slower") <= 9
    assert slower.count("slower") >= 88
    assert held >= 0.9


def test_whatever_the_noise_the_coin_keeps_the_error():
    """Sides alike, and noise that follows the place in the block: without the coin, B would always lose."""
    rng, slower = np.random.default_rng(11), 0
    for _ in range(300):
        turns = rng.integers(0, 2, 40).astype(bool)
        effects = [block_effect([1.0, 1.2, 1.3, 1.0], turned=turned) for turned in turns]
        slower += decide(effects, gate=0.05, rounds=40).word == "slower"
    assert slower <= 10
    without = [block_effect([1.0, 1.2, 1.3, 1.0], turned=False)] * 40
    assert decide(without, gate=0.05, rounds=40).word == "slower"
