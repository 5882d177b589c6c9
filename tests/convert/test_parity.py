"""Outputs that are right pass, outputs that are wrong do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.parity import BARS, beyond_grid, check, measure, tie_step
from edgekit.errors import ParityError
from edgekit.recipe import PRECISIONS


def outputs(seed=0, count=16, classes=10):
    return np.random.default_rng(seed).normal(size=(count, classes)).astype(np.float32)


def test_there_is_a_bar_with_a_reason_for_every_precision():
    assert set(BARS) == {p for all_ in PRECISIONS.values() for p in all_}
    assert all(bar.reason and bar.snr_db > 0 for bar in BARS.values())
    assert BARS["fp32"].snr_db > BARS["fp16"].snr_db > BARS["int8"].snr_db


@pytest.mark.parametrize("precision", BARS)
def test_the_same_outputs_are_perfect(precision):
    parity = check(outputs(), outputs(), recipe=f"onnx-{precision}", grid=None)
    assert (parity.max_abs_error, parity.snr_db, parity.top1_agreement) == (0.0, 200.0, 1.0)


@pytest.mark.parametrize("precision", BARS)
def test_other_outputs_are_refused(precision):
    for wrong in (outputs(seed=1), np.zeros((16, 10), np.float32), -outputs()):
        with pytest.raises(ParityError, match="differs from its source"):
            check(outputs(), wrong, recipe=f"onnx-{precision}", grid=None)


@pytest.mark.parametrize("precision", BARS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_enough(precision, bad):
    broken = outputs()
    broken[3, 3] = bad
    with pytest.raises(ParityError, match="1 outputs that are not finite"):
        check(outputs(), broken, recipe=f"tflite-{precision}", grid=None)


def test_another_shape_is_refused():
    with pytest.raises(ParityError, match="shape"):
        check(outputs(), outputs(classes=9), recipe="onnx-fp32", grid=None)


def test_a_near_tie_is_no_disagreement():
    wanted = np.array([[0.500, 0.499, 0.0]], np.float32)
    got = np.array([[0.498, 0.502, 0.0]], np.float32)
    assert measure(wanted, got, step=0.0).top1_agreement == 0.0
    assert measure(wanted, got, step=1 / 256).top1_agreement == 1.0
    far = np.array([[0.3, 0.6, 0.0]], np.float32)
    assert measure(wanted, far, step=0.0005).top1_agreement == 0.0


def test_a_step_of_the_outputs_own_grid_is_a_tie():
    assert tie_step(outputs(), "int8", 0.25) == pytest.approx(0.25, rel=0.01)
    assert tie_step(np.ones((1, 2)), "fp32", None) == pytest.approx(1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.001, 1.0))
def test_rounding_to_the_grid_costs_nothing(seed, grid):
    wanted = outputs(seed)
    rounded = (np.round(wanted / grid) * grid).astype(np.float32)
    assert beyond_grid(wanted, rounded, grid * 1.0001) > 100


def test_errors_beyond_the_grid_still_count():
    wanted = outputs()
    assert beyond_grid(wanted, wanted + 1.0, 0.01) < 1.0
    assert beyond_grid(wanted, wanted * 1.1, None) == pytest.approx(20.0, abs=0.1)
