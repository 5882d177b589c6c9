"""Doubts about outputs, each provoked by a whole run of a real network on this machine."""

import base64

import numpy as np
import pytest

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.testing.altered import AlteredDevice, why_not

NAN = base64.b64encode(np.full(10, np.nan, "<f4").tobytes()).decode()


@pytest.fixture
def codes(tmp_path, need_wheels):
    """Return a call that runs a bundle on this machine, altered in what it tells, and returns its doubts."""
    if reason := why_not():
        pytest.skip(reason)
    device = AlteredDevice(tmp_path / "altered")

    def run(bundle, *rules):
        device.tells(*rules)
        plan = make_plan([bundle.root], ["local://"], runs=20, passes=["latency"], program="python")
        result = execute(plan, None, opened=device.opened)
        need_wheels(result)
        return {doubt.code: doubt for doubt in summarize(result.runs[0]).doubts}

    return run


def test_right_outputs_raise_none_of_these(codes, real_bundle):
    assert not {"outputs-wrong", "outputs-unusable", "blind", "unproven"} & set(codes(real_bundle()))


def test_outputs_wrong(codes, real_bundle):
    doubt = codes(real_bundle(shift=0.01))["outputs-wrong"]
    assert doubt.value == pytest.approx(0.01, rel=1e-3)
    assert doubt.verdict == "invalid"


def test_outputs_unusable(codes, real_bundle):
    doubt = codes(real_bundle(), {"where": {"e": "output"}, "put": {"data": NAN}})["outputs-unusable"]
    assert doubt.verdict == "invalid"


def test_blind(codes, make_bundle, real_bundle):
    ort = pytest.importorskip("onnxruntime")
    network = next((real_bundle().root / "artifacts").iterdir()).read_bytes()
    inputs = np.full((4, 8, 8, 3), 0.5, np.float32)
    session = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    outputs = np.concatenate([session.run(None, {"in": x[None].transpose(0, 3, 1, 2)})[0] for x in inputs])
    alike = make_bundle("onnx-fp32", name="alike", inputs=inputs, outputs=outputs, parity=1e-6,
                        content={"onnx-fp32": network})  # fmt: skip
    assert "Outputs that ignore the input would pass too" in codes(alike)["blind"].hint
