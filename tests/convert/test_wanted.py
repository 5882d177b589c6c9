"""Which recipes are made when nobody says."""

from __future__ import annotations

import pytest

from edgekit.convert import preprocessing_of, preprocessing_preset, wanted
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import default_recipe_names as recipe_names


def names(recipes):
    return [r.name for r in recipes]


def test_all_that_can_be_made():
    recipes, left_out = wanted([], calibrated=True)
    assert names(recipes) == list(recipe_names())
    assert left_out == ()
    recipes, left_out = wanted([])
    assert left_out == ("tflite-int8", "onnx-int8", "coreml-w8a8")
    assert set(names(recipes)) | set(left_out) == set(recipe_names())


def test_a_named_recipe_is_kept_even_if_it_will_be_refused():
    recipes, left_out = wanted(["tflite-int8"])
    assert names(recipes) == ["tflite-int8"]
    assert left_out == ()
    with pytest.raises(UnknownNameError, match="did you mean 'tflite-int8'"):
        wanted(["tflite-int9"])
    with pytest.raises(UsageError, match="asked for twice"):
        wanted(["onnx-fp32", "onnx-fp32"])


def test_a_target_takes_only_its_formats():
    recipes, _ = wanted([], target="raspberry-pi-4", calibrated=True)
    assert {r.format for r in recipes} == {"tflite", "onnx"}
    with pytest.raises(UsageError, match="raspberry-pi-4 does not take coreml-fp16"):
        wanted(["coreml-fp16"], target="raspberry-pi-4")
    with pytest.raises(UnknownNameError):
        wanted([], target="raspberri-pi-4")


def test_preprocessing_is_the_named_one_or_the_sources_own():
    class Known:
        preprocessing = preprocessing_preset("signed")

    assert preprocessing_of(Known(), None) == preprocessing_preset("signed")
    assert preprocessing_of(Known(), "unit") == preprocessing_preset("unit")
