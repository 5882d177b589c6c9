"""All six networks to all recipes, at a small resolution."""

from __future__ import annotations

import pytest

from edgekit.bundle import Bundle
from edgekit.convert import convert, from_array
from edgekit.convert.preprocess import noise
from edgekit.convert.verify import verify_bundle
from edgekit.recipe import default_recipe_names, parse_recipes
from edgekit.source import load_source

pytestmark = pytest.mark.convert
NETWORKS = (
    "mobilenet_v1_0.25",
    "mobilenet_v2_0.35",
    "shufflenet_v1_0.5x_g3",
    "shufflenet_v2_0.5x",
    "squeezenet_1.0",
    "squeezenet_1.1",
)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_recipe_is_made_and_proved(name, tmp_path):
    source = load_source(name, resolution=64, classes=10)
    data = from_array(noise(source.inputs[0], source.preprocessing, 24, seed=9))
    result = convert(source, parse_recipes(default_recipe_names()), tmp_path / "out", calibration=data)
    assert [str(f.error) for f in result.failed] == []
    bundle = Bundle.load(tmp_path / "out")
    bundle.check()
    assert [a.recipe for a in bundle.artifacts] == list(default_recipe_names())
    assert bundle.preprocessing == source.preprocessing
    assert all(row.ok for row in verify_bundle(bundle))
    core_ml = [bundle.artifact(f"coreml-{precision}").parity.snr_db for precision in ("fp32", "fp16")]
    assert core_ml[0] > 80
    assert core_ml[0] > core_ml[1] + 20, "what half floats lose must be seen"
    sizes = {a.recipe: a.size_bytes for a in bundle.artifacts}
    assert sizes["tflite-int8"] < 0.6 * sizes["tflite-fp32"]
    assert sizes["coreml-fp16"] < 0.7 * sizes["coreml-fp32"]


@pytest.mark.parametrize("name", NETWORKS[:2])
def test_no_batch_norm_is_left(name):
    from edgekit.source import freeze

    frozen = freeze(load_source(name, resolution=32, classes=10))
    operations = {node.op for node in frozen.graph_def.node}
    assert not operations & {"Rsqrt", "Mul", "Sub", "FusedBatchNormV3"}
    assert frozen.snr_db > 90
