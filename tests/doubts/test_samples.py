"""Doubts about samples, each provoked by a whole run whose durations are those of a device that is so."""

import numpy as np
import pytest

from edgekit.testing.runs import example_samples

CALM = np.array(example_samples())
TURN = np.arange(200) * 7919 % 11 < 5


def play(samples):
    return {"where": {"e": "samples"}, "name": "samples", "play": [int(x) for x in samples]}


def scattered(share):
    return 1e7 * (1 + share / 0.6745 * np.random.default_rng(1).normal(size=200))


PLAYED = {
    "spread": scattered(0.06),
    "drift": scattered(0.01) * (1 + 0.085 * np.arange(200) / 200),
    "never-steady": CALM * np.where(np.arange(200) < 130, 1, 1.03),
    "two-modes": CALM * np.where(TURN, 1.07, 1),
    "outliers": CALM * np.where(np.arange(200) % 16 == 0, 3, 1),
    "overhead": CALM / 1e6,
}


def test_a_calm_device_has_no_doubt_but_that_it_computes_nothing(bench):
    overhead = {"where": {"e": "overhead"}, "put": {"ns": [100] * 50}}
    bench.calm().device.tells(overhead)
    assert set(bench.codes()) <= {
        "fake",
        "emulated",
        "clock-stepped",
        "governor",
        "frequency-moved",
        "throttled",
    }


@pytest.mark.parametrize("code", PLAYED)
def test_what_is_played_is_doubted(bench, code):
    bench.calm().device.tells(play(PLAYED[code]))
    doubt = bench.codes()[code]
    assert (doubt.value < doubt.limit) if code == "never-steady" else (doubt.value > doubt.limit)


def test_few_samples(bench):
    doubt = bench.calm().codes(runs=20)["few-samples"]
    assert (doubt.value, doubt.limit) == (20, 59)


def test_fake(bench):
    assert "Nothing was computed" in bench.codes()["fake"].hint
