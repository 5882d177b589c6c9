"""A recipe's name can be read, and says all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import PRECISIONS, Recipe, default_recipe_names, parse_recipes, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_name_goes_there_and_back(name):
    recipe = Recipe.parse(name)
    assert recipe.name == name
    assert recipe.precision in PRECISIONS[recipe.format]
    assert recipe.needs_calibration == name.endswith(("-int8", "-w8u8", "-w8a16", "-w8a8"))


def test_the_recipes_are_those_that_are_promised():
    assert recipe_names() == (
        "tflite-fp32", "tflite-fp16", "tflite-int8", "tflite-w8a16", "tflite-dyn8", "tflite-w8",
        "onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-w8u8", "onnx-dyn8",
        "coreml-fp32", "coreml-fp16", "coreml-w8a8", "coreml-w8", "coreml-p4", "coreml-p6", "coreml-p8",
    )  # fmt: skip


def test_nine_are_made_when_none_is_named():
    assert default_recipe_names() == (
        "tflite-fp32", "tflite-fp16", "tflite-int8", "onnx-fp32", "onnx-fp16", "onnx-int8",
        "coreml-fp32", "coreml-fp16", "coreml-w8a8",
    )  # fmt: skip
    assert set(default_recipe_names()) < set(recipe_names())


def test_every_precision_is_in_the_table_that_users_read():
    import edgekit.recipe as module

    words = set(module.__doc__.split())
    assert {p for all_ in PRECISIONS.values() for p in all_} <= words


@given(st.text(max_size=20).filter(lambda t: t not in recipe_names()))
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(UnknownNameError) as caught:
        Recipe.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": "tflit", "precision": "int8"}, "did you mean 'tflite'"),
        ({"format": "coreml", "precision": "int8"}, "unknown recipe 'coreml-int8'"),
    ],
)
def test_a_recipe_is_checked_when_it_is_made(fields, said):
    with pytest.raises(UnknownNameError, match=said):
        Recipe(**fields)


def test_a_recipe_twice_is_refused():
    assert [r.name for r in parse_recipes(["onnx-fp16", "tflite-int8"])] == ["onnx-fp16", "tflite-int8"]
    with pytest.raises(UsageError, match="'onnx-fp16' is asked for twice"):
        parse_recipes(["onnx-fp16", "tflite-int8", "onnx-fp16"])
