"""`edgekit convert --tuning`, and what it prints of quantization at any width."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekit.cli.quantization import print_quantization
from edgekit.convert.ptq.layers import Layer
from edgekit.convert.ptq.report import QuantizationReport
from edgekit.convert.ptq.score import Score

NETWORK = ("mobilenet_v1_0.25@32", "--classes", 10, "-r", "tflite-int8")
LONG = "features_11_branch_main_2_0_g2_1/convolution/BiasAdd"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.random.default_rng(0).uniform(-1, 1, (12, 32, 32, 3)).astype(np.float32))
    return path


@pytest.fixture
def report():
    plain, kept = (Score(agreement=a, snr_db=s, count=32) for a, s in ((0.625, 12.2), (0.97, 23.5)))
    values = {"op": "Relu", "low": 0.0, "high": 6.0, "snr_db": 20.0, "weights_snr_db": 41.0}
    return QuantizationReport(
        calibration_sha256="0" * 64,
        calibration_count=100,
        calibration_method="minmax",
        tuning=("auto",),
        methods=("repair", "equalize", "bias"),
        before=plain,
        after=kept,
        tried={"plain": plain, "equalize+bias": kept, "ranges": plain},
        layers=(
            Layer(tensor="input", own_snr_db=44.4, saturated=0.0, **{**values, "weights_snr_db": None}),
            *(Layer(tensor=f"conv{n}", own_snr_db=45 + n / 9, saturated=0.0, **values) for n in range(6)),
            Layer(tensor=LONG, own_snr_db=15.0, saturated=0.0012, **values),
        ),
        dead={f"conv{n}/BiasAdd": 1 + n for n in range(6)},
    )


@pytest.fixture
def printed(report, capsys, monkeypatch):
    def at(width):
        monkeypatch.setenv("COLUMNS", str(width))
        print_quantization(report)
        return capsys.readouterr().out

    return at


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_it_reads_at_any_width(width, printed):
    text = printed(width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    words = " ".join(text.split())
    assert "8 bits on 32 calibration inputs: 12.2 -> 23.5 dB" in words
    assert "the source's answer on 62% -> 97%" in words
    assert "tuning auto: repair, equalize and bias +11.3 dB; tried and left: ranges" in words
    assert "21 dead channels" in words
    assert "conv5/BiasAdd (6)" in words
    assert "and 2 more" in words
    assert words.index(LONG) < words.index("conv0")
    assert f"{LONG}: few values stretch its range: 16-bit activations" in words
    assert "0.12%" in words


def test_figures_stay_together_where_it_is_narrow(printed):
    lines = printed(80).splitlines()
    place = lines.index(f"  {LONG}")
    assert (
        lines[place + 1] == "    0 to 6, values 15.0, weights 41.0, so far 20.0, saturated 0.12%, drowned 0"
    )
    wide = printed(140).splitlines()
    (row,) = [line for line in wide if line.startswith(LONG) and "0.12%" in line]
    assert row.split()[1:] == ["0", "to", "6", "15.0", "41.0", "20.0", "0.12%", "0"]


def test_nothing_done_is_said(report, capsys):
    import dataclasses

    none = dataclasses.replace(report, tuning=(), methods=(), tried={}, dead={}, after=report.before)
    print_quantization(none)
    text = capsys.readouterr().out
    assert "tuning none: nothing done" in text
    assert "->" not in text
    assert "dead" not in text


@pytest.mark.convert
@pytest.mark.parametrize(
    ("words", "asked", "done"),
    [
        (("--tuning", "bias,round"), ["bias", "round"], "bias+round"),
        (("--tuning", "round", "--tuning", "bias"), ["bias", "round"], "bias+round"),
        (("--tuning", "none"), [], "none"),
    ],
)
def test_what_is_named_is_done(words, asked, done, call, data):
    tmp_path = data.parent
    code, out, err = call("convert", *NETWORK, "--calibrate", data, *words, "-o", tmp_path / "b", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["quantization"]["tuning"] == asked
    assert document["quantization"]["methods"] == asked
    assert document["artifacts"][0]["provenance"]["tuning"] == done
    assert len(document["quantization"]["worst"]) == 5


@pytest.mark.convert
def test_the_table_is_printed_and_printed_again_where_all_is_kept(call, data, tmp_path):
    words = ("convert", *NETWORK, "--calibrate", data, "-o", tmp_path / "b")
    code, out, err = call(*words)
    assert code == 0, err
    assert "tuning auto: " in out
    assert "worst layers" in out
    code, again, err = call(*words)
    assert "kept tflite-int8" in err
    assert again == out


@pytest.mark.convert
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tuning", "equalise"), "did you mean 'equalize'"),
        (("--tuning", "auto,bias"), "exclude each other"),
        (("--tuning", ""), "unknown tuning method ''"),
    ],
)
def test_what_can_not_be_meant_is_refused(words, message, call, data, tmp_path):
    code, out, err = call("convert", *NETWORK, "--calibrate", data, *words, "-o", tmp_path / "b")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "b").exists()


def test_the_help_says_what_each_does(capsys):
    from edgekit.cli import main as cli

    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for told in ("auto (default)", "repair (dead", "equalize (", "ranges (", "bias (", "round ("):
        assert told in text
