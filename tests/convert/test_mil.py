"""A Core ML package that lost or changed a weight is found without running it."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from edgekit.convert.mil.check import check_program
from edgekit.convert.mil.evaluate import load, op_kinds, read_spec
from edgekit.errors import ConversionError
from edgekit.source import freeze

pytestmark = pytest.mark.convert
RECIPES = ("coreml-fp32", "coreml-fp16")


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


@pytest.fixture
def package(made, tmp_path, request):
    path = tmp_path / "copy.mlpackage"
    shutil.copytree(made.bundle.path_of(made.bundle.artifact(request.param)), path)
    return path, request.param.rpartition("-")[2]


def operations(spec):
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def rewrite(path, change):
    spec = read_spec(path)
    change(spec)
    next(path.rglob("*.mlmodel")).write_bytes(spec.SerializeToString())


@pytest.mark.parametrize("package", RECIPES, indirect=True)
def test_a_good_package_passes(package, frozen):
    path, precision = package
    check_program(path, frozen, precision)
    assert {"conv", "softmax", "const"} <= set(op_kinds(path))
    assert op_kinds(path) == load(path).kinds


@pytest.mark.parametrize("package", RECIPES, indirect=True)
def test_every_weight_is_held_against_the_program(package, frozen):
    """Each weight of the frozen graph, changed by 1 % in one place, is missed in the program."""
    path, precision = package
    checked = 0
    for name, (op, value) in frozen.weights.items():
        if value.size < 2 or not value.any():
            continue
        other = value.copy()
        largest = np.unravel_index(np.abs(other).argmax(), other.shape)
        other[largest] *= 1.01
        changed = dataclasses.replace(frozen, weights={**frozen.weights, name: (op, other)})
        with pytest.raises(ConversionError, match=f"lacks the weight {name}"):
            check_program(path, changed, precision)
        checked += 1
    assert checked >= 9  # five kernels and four biases from batch norm


@pytest.mark.parametrize("package", ["coreml-fp32"], indirect=True)
def test_a_damaged_weight_file_is_found(package, frozen):
    path, precision = package
    weights = next(path.rglob("weight.bin"))
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConversionError, match="weight file"):
        check_program(path, frozen, precision)


@pytest.mark.parametrize("package", ["coreml-fp32"], indirect=True)
def test_an_operation_that_nobody_knows_is_named(package, frozen):
    path, precision = package

    def change(spec):
        next(op for op in operations(spec) if op.type == "softmax").type = "surprise"

    rewrite(path, change)
    with pytest.raises(ConversionError, match=r"can't be evaluated here: op 'surprise' \(output '.+'\)"):
        check_program(path, frozen, precision)


@pytest.mark.parametrize("package", ["coreml-fp32"], indirect=True)
def test_other_ends_are_found(package, frozen):
    path, precision = package
    rewrite(path, lambda spec: setattr(spec.description.input[0], "name", "image"))
    with pytest.raises(ConversionError, match="inputs are"):
        check_program(path, frozen, precision)
