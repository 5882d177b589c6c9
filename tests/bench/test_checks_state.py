"""Doubts about a device's state, on both sides of their limits."""

from dataclasses import replace

import pytest

from edgekit.bench.checks import doubts_of, verdict_of
from edgekit.testing.runs import example_run

CALM = example_run()


def run(*, asked=(), host=(), **cluster):
    """Return a calm run whose cores 0 to 3 were so, of which it used 0 and 1, with its host's conditions."""
    told = {"cpus": "0-1", "governor": "performance", "cur_khz": 1000, "max_khz": 2000, **cluster}
    other = {"cpus": "2 3", "governor": "powersave", "cur_khz": 10, "max_khz": 2000}
    during = {"when": "during", "pass": "latency", "cpus_allowed": "0,1", "clusters": [told, other]}
    after = {"when": "after", "pass": "host", **dict(host)}
    return replace(CALM, plan={**CALM.plan, **dict(asked)}, conditions=(*CALM.conditions[:1], during, after))


def codes(made):
    return {doubt.code for doubt in doubts_of(made)}


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (run(asked={"governor": "schedutil"}), "governor-moved"),
        (run(asked={"frequency_khz": 1030}), "clock-moved"),
        (run(host={"state_lost": "the host was silent"}), "state-lost"),
        (run(host={"thermal_override": True}), "thermal-override"),
    ],
)
def test_what_was_asked_for_and_did_not_last_is_doubted(made, code):
    assert code in codes(made)
    if code in {"governor-moved", "state-lost"}:
        assert verdict_of(doubts_of(made)) == "invalid"


@pytest.mark.parametrize(
    "made",
    [
        run(asked={"governor": "performance"}),
        run(asked={"frequency_khz": 1000}),
        run(asked={"frequency_khz": 1015}),
        run(asked={"governor": "schedutil"}, governor="schedutil"),
    ],
)
def test_what_was_asked_for_and_lasted_is_not(made):
    assert not codes(made) & {"governor-moved", "clock-moved", "state-lost", "thermal-override"}


def test_a_clock_that_was_asked_for_is_not_held_against_the_highest():
    assert "governor" in codes(run(governor="schedutil"))
    assert "governor" not in codes(run(asked={"frequency_khz": 1000}, governor="schedutil"))
