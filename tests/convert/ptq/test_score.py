"""Scores: what is compared, what counts as better, and when a network is damaged."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numpy")

from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.ptq.score import GAIN_DB, GOOD_DB, KEPT, NOISY_DB, Score, loses_answers, score

SCORES = st.builds(
    Score,
    agreement=st.floats(0, 1),
    snr_db=st.floats(-50, 200),
    count=st.just(32),
)


def test_the_same_outputs_are_perfect():
    outputs = np.random.default_rng(0).normal(size=(9, 5))
    found = score(outputs, outputs.copy())
    assert (found.agreement, found.snr_db, found.count) == (1.0, 200.0, 9)
    assert found.good
    assert not found.damaged


def test_noise_of_a_known_size():
    random = np.random.default_rng(1)
    outputs = random.normal(size=(400, 50))
    found = score(outputs, outputs + 0.1 * random.normal(size=outputs.shape))
    assert found.snr_db == pytest.approx(20, abs=0.3)


@given(shift=st.floats(-1e3, 1e3))
def test_what_all_outputs_of_an_input_have_in_common_says_nothing(shift):
    """A softmax takes it out."""
    outputs = np.random.default_rng(2).normal(size=(6, 4))
    assert score(outputs, outputs + shift).snr_db > 180


def test_agreement_is_of_the_largest_output():
    wanted = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.1], [3.0, 4.0]])
    got = np.array([[0.0, 0.1], [0.1, 0.2], [9.0, 0.1], [4.0, 3.9]])
    assert score(wanted, got).agreement == 0.5


def test_one_output_agrees_by_its_sign():
    wanted, got = np.array([[1.0], [-2.0], [3.0]]), np.array([[0.5], [-2.0], [-3.0]])
    found = score(wanted, got)
    assert found.agreement == pytest.approx(2 / 3)
    assert math.isfinite(found.snr_db)  # its mean is not taken out: it would be all


def test_outputs_that_are_not_finite_are_never_better():
    outputs = np.random.default_rng(3).normal(size=(4, 3))
    broken = score(outputs, np.full_like(outputs, np.nan))
    assert not broken.beats(Score(agreement=0.0, snr_db=-50.0, count=4))
    assert not broken.good
    assert broken.damaged


@given(one=SCORES, other=SCORES)
def test_of_two_scores_one_at_most_is_better(one, other):
    assert not (one.beats(other) and other.beats(one))
    assert not one.beats(one)


@given(one=SCORES, other=SCORES, third=SCORES)
def test_better_means_less_noise(one, other, third):
    if one.beats(other) and other.beats(third):
        assert one.snr_db > third.snr_db + 2 * GAIN_DB


@pytest.mark.parametrize(
    ("gain", "lost", "better"),
    [
        (GAIN_DB / 2, 0, False),
        (GAIN_DB * 2, 0, True),
        (10.0, 5, True),  # of 32: what chance takes
        (10.0, 8, False),
        (-1.0, -20, False),
    ],
)
def test_less_noise_is_no_gain_when_answers_are_lost(gain, lost, better):
    before = Score(agreement=28 / 32, snr_db=15.0, count=32)
    after = Score(agreement=(28 - lost) / 32, snr_db=15.0 + gain, count=32)
    assert after.beats(before) is better


def test_there_is_an_end_to_what_can_be_won():
    assert Score(agreement=1.0, snr_db=GOOD_DB, count=5).good
    assert not Score(agreement=1.0, snr_db=GOOD_DB - 1, count=5).good
    assert not Score(agreement=0.99, snr_db=GOOD_DB + 20, count=100).good


def test_a_score_reads_well():
    assert str(Score(agreement=0.875, snr_db=17.26, count=32)) == "17.3 dB, 88% of 32 the same"


@pytest.mark.parametrize(
    ("same", "count", "lost"),
    [(32, 32, False), (27, 32, False), (25, 32, True), (1, 1, False), (0, 1, False), (0, 2, True),
     (80, 100, True), (89, 100, False)],
)  # fmt: skip
def test_few_inputs_must_be_worse_to_be_believed(same, count, lost):
    if (same, count) == (0, 1):  # one wrong answer has a chance of one in ten
        assert 1 - KEPT > 0.05
    assert loses_answers(same / count, count) is lost


@given(count=st.integers(1, 60), same=st.integers(0, 60))
def test_more_right_answers_never_make_a_network_damaged(count, same):
    same = min(same, count - 1)
    if loses_answers((same + 1) / count, count):
        assert loses_answers(same / count, count)


def test_noise_alone_is_damage_too():
    assert Score(agreement=1.0, snr_db=NOISY_DB - 0.1, count=32).damaged
    assert not Score(agreement=1.0, snr_db=NOISY_DB + 0.1, count=32).damaged
