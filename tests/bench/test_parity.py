"""On-device outputs against the source's."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from edgekit.artifact import Artifact, Parity, TensorSpec
from edgekit.bench.parity import compare, outputs_of, tolerance

SOURCE = np.random.default_rng(3).random((6, 10), dtype=np.float32)
SPAN = float(SOURCE.max())


def artifact(precision="fp32", error=0.001, scale=None, snr_db=40, **changes):
    zero_point = None if scale is None else 0
    fields = {
        "recipe": f"tflite-{precision}",
        "format": "tflite",
        "precision": precision,
        "path": "x",
        "sha256": "0",
        "size_bytes": 1,
        "inputs": (),
        "outputs": (TensorSpec(name="o", shape=(1, 10), dtype="int8", scale=scale, zero_point=zero_point),),
        "parity": None if error is None else Parity(max_abs_error=error, snr_db=snr_db, top1_agreement=1),
    }
    return Artifact(**{**fields, **changes})


def told(array):
    """Return the device's outputs: one array a golden input."""
    return {i: {0: row[None]} for i, row in enumerate(np.asarray(array, dtype=np.float32))}


def read(array, of=None, *, expected=SOURCE, whole=True):
    return compare(told(array), expected, of or artifact(), whole=whole)


@pytest.mark.parametrize(
    ("of", "limit", "words"),
    [
        (artifact("fp32"), 0.001 + 1e-4 * SPAN, "0.001 on the host"),
        (artifact("fp16"), 0.001 + 4 * SPAN / 1024, "on the host"),
        (artifact("int8", error=0.05, scale=0.02), 0.06 + 0.08, "4 steps of 0.02"),
        (artifact("int8", error=0.05), 0.06 + 4 * SPAN / 255, "4 steps of"),
        (artifact("w8u8", error=0.05), 0.06 + 4 * SPAN / 255, "4 steps of"),
        (artifact("dyn8", error=0.05), 0.06 + 4 * SPAN / 255, "4 steps of"),
        (artifact("w8a16"), 0.001 + 4 * SPAN / 1024, "on the host"),
        (artifact("w8"), 0.001 + 1e-4 * SPAN, "on the host"),
        (artifact("fp16", error=None), 0.01 * SPAN + 4 * SPAN / 1024, "the host can't run it"),
    ],
)
def test_the_limit(of, limit, words):
    found = tolerance(of, SOURCE)
    assert found.limit == pytest.approx(limit)
    assert words in found.rule


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_either_side_of_the_limit(precision):
    of = artifact(precision)
    limit = tolerance(of, SOURCE).limit
    shifted = SOURCE.astype(np.float64)
    shifted[3, 4] += limit * 0.99
    assert read(shifted, of).ok
    shifted[3, 4] += limit * 0.02
    wrong = read(shifted, of)
    assert not wrong.ok
    assert wrong.max_abs_error == pytest.approx(1.01 * limit, rel=1e-3)
    assert wrong.limit == limit


def test_small_errors_everywhere_are_seen_beside_one_large_one_on_the_host():
    of = artifact("int8", error=0.5, snr_db=30, scale=0.004)
    assert tolerance(of, SOURCE).limit > 0.5
    everywhere = read(SOURCE + np.float32(0.1), of)
    assert not everywhere.ok
    assert everywhere.max_abs_error < everywhere.limit
    assert everywhere.rms_error == pytest.approx(0.1, rel=1e-3)
    one = SOURCE.copy()
    one[0, 0] += 0.1
    assert read(one, of).ok


def test_the_same_outputs():
    reading = read(SOURCE)
    assert (reading.max_abs_error, reading.snr_db, reading.top1_agreement, reading.count) == (0, 200, 1, 6)
    assert reading.ok
    assert not reading.blind


def test_figures():
    noisy = SOURCE + np.float32(0.01)
    reading = read(noisy)
    signal = np.sum(SOURCE.astype(np.float64) ** 2)
    assert reading.snr_db == pytest.approx(10 * np.log10(signal / (60 * 1e-4)), abs=0.01)
    assert read(np.zeros_like(SOURCE)).snr_db == pytest.approx(0, abs=1e-6)
    assert read(SOURCE, expected=np.zeros_like(SOURCE)).snr_db == -200


def test_top1_forgives_near_ties_only():
    source = np.array([[0.5, 0.499, 0.1], [0.9, 0.1, 0.2]], dtype=np.float32)
    of = artifact("int8", error=0.01, scale=0.004)
    flipped = source[:, [1, 0, 2]]
    reading = read(flipped, of, expected=source)
    assert reading.top1_agreement == 0.5
    assert not reading.ok


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_wrong_and_never_a_number(value):
    outputs = SOURCE.copy()
    outputs[2, 5] = value
    reading = read(outputs)
    assert not reading.ok
    assert (reading.max_abs_error, reading.snr_db, reading.top1_agreement) == (None, None, None)
    assert "golden input 2 are not finite" in reading.tolerance


def test_shapes_and_counts_that_do_not_fit():
    assert "9 output values" in read(SOURCE[:, :9]).tolerance
    assert "no output for golden input 5" in read(SOURCE[:5]).tolerance
    assert "golden input 6, of 6" in read(np.vstack([SOURCE, SOURCE[:1]])).tolerance
    assert not read([]).ok


def test_a_run_broken_off_is_judged_by_what_came():
    assert read([], whole=False) is None
    part = read(SOURCE[:2], whole=False)
    assert (part.ok, part.count) == (True, 2)


def test_an_answer_that_ignores_its_input_is_seen():
    flat = np.full((6, 10), 0.1, dtype=np.float32) + SOURCE * np.float32(1e-4)
    reading = read(flat, artifact("int8", error=0.01), expected=flat)
    assert reading.ok
    assert reading.blind
    assert not read(SOURCE[:1], expected=SOURCE[:1]).blind


def test_channels_first_maps_and_several_outputs():
    rng = np.random.default_rng(1)
    maps, scores = rng.random((2, 4, 5, 3), dtype=np.float32), rng.random((2, 7), dtype=np.float32)
    source = np.concatenate([maps.reshape(2, -1), scores], axis=1)
    specs = (
        TensorSpec(name="m", shape=(1, 3, 4, 5), dtype="float32", layout="NCHW"),
        TensorSpec(name="s", shape=(1, 7), dtype="float32"),
    )
    of = replace(artifact(), outputs=specs)
    device = {i: {1: scores[i : i + 1], 0: maps[i : i + 1].transpose(0, 3, 1, 2)} for i in range(2)}
    assert compare(device, source, of, whole=True).max_abs_error == 0


def event(**changes):
    data = base64.b64encode(np.arange(6, dtype="<f4").tobytes()).decode()
    return {"e": "output", "golden": 1, "output": 0, "shape": [2, 3], "data": data, **changes}


def test_events_become_arrays():
    found = outputs_of([{"e": "hello"}, event()])
    assert found[1][0].tolist() == [[0, 1, 2], [3, 4, 5]]
