"""One float program is read by coremltools' own front end; each precision is a changed copy of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgekit.convert.base import Work
from edgekit.convert.coreml import CONVERTER
from edgekit.convert.coreml_program import copied, float_program, halved, write
from edgekit.convert.mil.evaluate import evaluate, op_kinds, read_spec
from edgekit.convert.preprocess import noise
from edgekit.errors import ParityError
from edgekit.source import freeze, load_source
from edgekit.source.graph import Graph
from edgekit.source.quiet import quiet
from edgekit.source.trace import to_function

pytestmark = pytest.mark.convert
ct = pytest.importorskip("coremltools", reason="the convert extra is not installed")


def kinds(path):
    function = read_spec(path).mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    return [o.type for o in operations if o.type != "const"]


@pytest.fixture(scope="module", params=["tiny", "shufflenet_v2_0.5x"])
def frozen(request, source):
    with quiet():
        return freeze(
            source if request.param == "tiny" else load_source(request.param, resolution=32, classes=10)
        )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_program_is_what_coremltools_own_call_makes(precision, frozen, tmp_path):
    with quiet():
        package = ct.convert(
            [frozen.function],
            source="tensorflow",
            inputs=[ct.TensorType(name="input", shape=frozen.source.input.shape, dtype=np.float32)],
            outputs=[ct.TensorType(name="output", dtype=np.float32)],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision={"fp32": ct.precision.FLOAT32, "fp16": ct.precision.FLOAT16}[precision],
            skip_model_load=True,
        )
        package.save(str(tmp_path / "theirs.mlpackage"))
        CONVERTER.convert(Work(frozen=frozen), precision, tmp_path / "ours.mlpackage")
    assert kinds(tmp_path / "ours.mlpackage") == kinds(tmp_path / "theirs.mlpackage")
    inputs = noise(frozen.source.input, frozen.source.preprocessing, 2, seed=1)
    ours, theirs = (evaluate(tmp_path / f"{name}.mlpackage", inputs) for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours, theirs)


def test_a_copy_is_a_program_of_its_own(frozen, tmp_path):
    with quiet():
        program = float_program(frozen, "iOS16")
        before = [o.op_type for o in program.functions["main"].operations]
        half = halved(copied(program))
        write(program, tmp_path / "full.mlpackage", "iOS16")
        write(copied(program, "iOS17"), tmp_path / "newer.mlpackage", "iOS17")
    assert [o.op_type for o in program.functions["main"].operations] == before
    assert "cast" in {o.op_type for o in half.functions["main"].operations}
    assert kinds(tmp_path / "full.mlpackage") == kinds(tmp_path / "newer.mlpackage")
    versions = [read_spec(tmp_path / f"{n}.mlpackage").specificationVersion for n in ("full", "newer")]
    assert versions == [int(ct.target.iOS16), int(ct.target.iOS17)]


def test_a_deep_network_can_be_copied():
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x):
        for number in range(1500):
            x = Builder.add(x=x, y=np.float32(number), name=f"a{number}")
        return x

    kinds_of = [o.op_type for o in copied(program).functions["main"].operations]
    assert kinds_of.count("add") == 1500


def test_the_graph_is_read_once_for_all_precisions(source, calibration, tmp_path, monkeypatch):
    from edgekit.convert import coreml
    from edgekit.convert.observe import calibrate

    calls = []

    def counted(frozen, target):
        calls.append(target)
        return float_program(frozen, target)

    monkeypatch.setattr(coreml, "float_program", counted)
    with quiet():
        frozen = freeze(source)
        work = Work(frozen=frozen, calibration=calibration, record=calibrate(frozen, calibration, "minmax"))
        for precision in ("fp16", "w8", "w8a8", "p4", "fp32"):
            CONVERTER.convert(work, precision, tmp_path / f"{precision}.mlpackage")
    assert calls == ["iOS16"]
    assert "quantize" not in op_kinds(tmp_path / "fp32.mlpackage"), "no precision changes another's program"
    assert not [k for k in op_kinds(tmp_path / "fp16.mlpackage") if k.startswith("constexpr")]


def test_weights_tuned_for_integers_do_not_reach_the_other_precisions(source, calibration, tmp_path):
    from edgekit.convert.observe import calibrate

    with quiet():
        frozen = freeze(source)
        graph = Graph(frozen.graph_def, "output")
        for name, value in graph.constants.items():
            graph.constants[name] = value * 2 if value.dtype == np.float32 else value
        tuned = dataclasses.replace(frozen, graph_def=graph.to_graph_def(), tuned=True)
        tuned = dataclasses.replace(tuned, function=to_function(tuned.graph_def), weights=doubled(frozen))
        record = calibrate(tuned, calibration, "minmax")
        work = Work(frozen=frozen, calibration=calibration, record=record, tuned=tuned)
        CONVERTER.convert(work, "w8a8", tmp_path / "w8a8.mlpackage")
        CONVERTER.convert(work, "fp32", tmp_path / "fp32.mlpackage")
        assert CONVERTER.inspect(work, "w8a8", tmp_path / "w8a8.mlpackage")
        assert CONVERTER.inspect(work, "fp32", tmp_path / "fp32.mlpackage")


def doubled(frozen):
    return {name: (op, value * 2) for name, (op, value) in frozen.weights.items()}


def test_the_operation_that_leaves_16_bits_is_named(keras, tmp_path):
    layers = keras.layers
    inputs = layers.Input((8, 8, 1))
    x = layers.Conv2D(2, 1, kernel_initializer="ones", name="small")(inputs)
    x = layers.Conv2D(2, 1, kernel_initializer=keras.initializers.Constant(6e4), name="large")(x)
    x = layers.Conv2D(2, 1, kernel_initializer=keras.initializers.Constant(1e-6), name="last")(x)
    keras.Model(inputs, layers.GlobalAveragePooling2D()(x)).save(tmp_path / "n.keras")
    with quiet():
        frozen = freeze(load_source(str(tmp_path / "n.keras")))
        CONVERTER.convert(Work(frozen=frozen), "fp16", tmp_path / "half.mlpackage")
        CONVERTER.convert(Work(frozen=frozen), "fp32", tmp_path / "full.mlpackage")
    ones = np.ones((1, 8, 8, 1), np.float32)
    assert np.isfinite(CONVERTER.run(tmp_path / "full.mlpackage", ones)).all()
    with pytest.raises(
        ParityError, match=r"op 'conv' \(output '.*large.*'\) is the first .* input reaches 1"
    ) as caught:
        CONVERTER.run(tmp_path / "half.mlpackage", ones)
    assert caught.value.hint == "use coreml-fp32"
