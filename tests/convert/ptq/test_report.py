"""What a user is told of quantization: true, in words that name the layer and the next step."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edgekit.convert.ptq.layers import Layer
from edgekit.convert.ptq.report import FEW, REPORT, QuantizationReport
from edgekit.convert.ptq.score import Score, loses_answers
from edgekit.errors import UsageError

GOOD = Score(agreement=1.0, snr_db=30.0, count=32)
BAD = Score(agreement=0.5, snr_db=8.0, count=32)


def layer(number, own=50.0, weights=45.0, saturated=0.0):
    return Layer(
        tensor=f"conv{number}/Relu",
        op="Relu",
        low=0.0,
        high=6.0,
        snr_db=30.0,
        own_snr_db=own,
        saturated=saturated,
        weights_snr_db=weights,
    )


def report(**changes):
    values = {
        "calibration_sha256": "0" * 64,
        "calibration_count": 100,
        "calibration_method": "minmax",
        "tuning": ("auto",),
        "methods": ("repair", "equalize", "bias"),
        "before": Score(agreement=0.75, snr_db=12.0, count=32),
        "after": GOOD,
        "tried": {
            "plain": Score(agreement=0.75, snr_db=12.0, count=32),
            "equalize+bias": GOOD,
            "ranges": BAD,
        },
        "layers": tuple(layer(n, own=50.0 + 0.1 * n) for n in range(9)),
        "dead": {"conv1/BiasAdd": 3},
    }
    return QuantizationReport(**{**values, **changes})


def test_it_is_read_back_as_it_was_written(tmp_path):
    wanted = report(weights_alone=GOOD)
    (tmp_path / REPORT).write_bytes(wanted.to_json())
    assert QuantizationReport.load(tmp_path) == wanted
    assert json.loads(wanted.to_json())["schema"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "schema 2"),
        (lambda d: d.pop("layers"), "lacks the key 'layers'"),
        (lambda d: d.update(layer=[]), "did you mean 'layers'"),
        (lambda d: d["layers"][0].pop("low"), "lacks the key 'low'"),
        (lambda d: d.update(before=3), "before should be a table"),
        (lambda d: d.update(tuning=None), "'tuning' in quantization.json|can't be read"),
    ],
)
def test_what_is_not_a_report_is_refused(change, message, tmp_path):
    data = json.loads(report().to_json())
    change(data)
    (tmp_path / REPORT).write_text(json.dumps(data))
    with pytest.raises(UsageError, match=message):
        QuantizationReport.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_what_is_no_table_is_refused(text, tmp_path):
    (tmp_path / REPORT).write_text(text)
    with pytest.raises(UsageError, match="convert again"):
        QuantizationReport.load(tmp_path)


def test_a_bundle_without_one_says_how_to_get_it(tmp_path):
    with pytest.raises(UsageError, match="no quantization report"):
        QuantizationReport.load(tmp_path)


def test_gains_are_told_where_they_were_measured():
    found = report()
    assert found.gains() == {"repair": None, "equalize+bias": 18.0}
    assert found.left() == ["ranges"]
    assert report(methods=(), tried={"plain": GOOD}, after=GOOD).gains() == {}


def test_a_trial_counts_from_what_was_kept_before_it():
    tried = {
        "plain": Score(agreement=0.7, snr_db=10.0, count=32),
        "equalize+bias": Score(agreement=0.7, snr_db=9.0, count=32),
        "bias": Score(agreement=0.8, snr_db=14.0, count=32),
        "round": Score(agreement=0.9, snr_db=15.5, count=32),
    }
    found = report(methods=("bias", "round"), before=tried["plain"], tried=tried)
    assert found.gains() == {"bias": 4.0, "round": 1.5}
    assert found.left() == ["equalize"]


def test_the_worst_layers_are_those_that_lose_most_themselves():
    layers = (layer(0), layer(1, weights=20.0), layer(2, own=30.0), layer(3, own=200.0, weights=None))
    found = report(layers=layers)
    assert [one.tensor for one in found.worst(3)] == ["conv1/Relu", "conv2/Relu", "conv0/Relu"]


def test_the_advice_is_for_what_a_layer_loses_by():
    usual = [layer(n, own=50.0 + 0.1 * n) for n in range(9)]
    stretched, coarse, cut = layer(20, own=15.0), layer(21, weights=12.0), layer(22, saturated=0.05)
    found = report(layers=(*usual, stretched, coarse, cut))
    assert {found.advice(one) for one in usual} == {""}
    assert "tflite-w8a16" in found.advice(stretched)
    assert "fp16" in found.advice(coarse)
    assert "--tuning round" in found.advice(coarse)
    assert "--tuning" not in dataclasses.replace(found, methods=("round",)).advice(coarse)
    assert found.advice(cut) == "values leave its range: calibrate on more typical inputs"
    drowned = dataclasses.replace(layer(23), drowned=0.25)
    assert found.advice(drowned).startswith("25% of its channels drown")
    assert drowned.total_db < 7
    assert "(mse cuts it)" in dataclasses.replace(found, calibration_method="mse").advice(cut)


def test_a_good_network_is_not_warned_of():
    assert report().warnings() == ()
    assert not report().summary()["damaged"]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"weights_alone": GOOD}, "use tflite-w8a16 (16-bit activations: the float network's answer on 32"),
        ({"weights_alone": BAD}, "use fp16 (16-bit activations do not mend it"),
        ({"tuning": (), "weights_alone": GOOD}, "let --tuning auto work on it"),
    ],
)  # fmt: skip
def test_a_damaged_network_is_warned_of_with_the_next_step(changes, step):
    layers = (*(layer(n) for n in range(5)), layer(7, own=10.0))
    (warning,) = report(after=BAD, layers=layers, **changes).warnings()
    assert warning.startswith(
        "8 bits damage this network: the float network's answer on 16 of 32 calibration inputs"
    )
    assert "worst layers: conv7/Relu" in warning
    assert step in warning
    assert "\n" not in warning


def test_few_inputs_are_warned_of():
    (warning,) = report(calibration_count=1).warnings()
    assert warning.startswith("1 calibration input can't tell ranges: expect 1 in 2 new ones")
    assert report(calibration_count=FEW).warnings() == ()


def test_the_summary_is_json_without_the_other_layers():
    found = report(layers=tuple(layer(n, own=40.0 + n) for n in range(9)), after=BAD, weights_alone=GOOD)
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["layers"] == 9
    assert [one["tensor"] for one in summary["worst"]] == [f"conv{n}/Relu" for n in range(5)]
    assert {"advice", "total_snr_db", "own_snr_db", "weights_snr_db", "saturated"} <= set(summary["worst"][0])
    assert summary["damaged"] is True
    assert summary["dead"] == {"conv1/BiasAdd": 3}


@pytest.mark.parametrize(
    ("same", "count", "lost"),
    [(16, 16, False), (12, 16, False), (11, 16, True), (26, 32, False), (25, 32, True), (0, 1, False),
     (0, 2, True), (84, 100, True), (85, 100, False)],
)  # fmt: skip
def test_answers_count_as_lost_beyond_what_chance_takes(same, count, lost):
    """P(X <= k) of a binomial distribution with p = 0.9 falls below 0.05 between these."""
    assert loses_answers(same / count, count) is lost


def test_outputs_of_noise_are_damaged_whatever_their_signs():
    assert Score(agreement=1.0, snr_db=3.0, count=32).damaged
    assert Score(agreement=1.0, snr_db=float("nan"), count=32).damaged
    assert not GOOD.damaged
