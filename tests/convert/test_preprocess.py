"""A pixel becomes the number that training used."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgekit.artifact import TensorSpec
from edgekit.bundle import Preprocessing
from edgekit.convert.preprocess import PRESETS, apply, fit, image_input, noise, preprocessing_preset
from edgekit.errors import UnknownNameError, UsageError

RED = (200, 100, 50)
SPEC = TensorSpec(name="input", shape=(1, 8, 8, 3), dtype="float32", layout="NHWC")


def picture(size, colour=RED):
    image = pytest.importorskip("PIL.Image", reason="the convert extra is not installed")
    return image.new("RGB", size, colour)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("none", (200, 100, 50)),
        ("none-bgr", (50, 100, 200)),
        ("signed", (200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1)),
        ("unit-bgr", (50 / 255, 100 / 255, 200 / 255)),
        ("imagenet", ((200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225)),
        (
            "imagenet-bgr",
            ((50 / 255 - 0.406) / 0.225, (100 / 255 - 0.456) / 0.224, (200 / 255 - 0.485) / 0.229),
        ),
    ],
)
def test_presets(name, wanted):
    values = image_input(picture((20, 12)), SPEC, preprocessing_preset(name))
    assert values.shape == (8, 8, 3)
    assert values.dtype == np.float32
    assert np.allclose(values, wanted, atol=1e-6)


def test_channels_first_are_the_same_numbers_laid_out_otherwise():
    first = dataclasses.replace(SPEC, shape=(1, 3, 8, 6), layout="NCHW")
    last = dataclasses.replace(SPEC, shape=(1, 8, 6, 3))
    preset = preprocessing_preset("imagenet")
    image = picture((20, 12))
    image.putpixel((10, 6), (1, 2, 3))
    assert fit(preset, first) == preset
    wanted = image_input(image, last, preset).transpose(2, 0, 1)
    assert np.array_equal(image_input(image, first, preset), wanted)
    values = noise(first, preset, 3, seed=1)
    assert values.shape == (3, 3, 8, 6)
    assert np.array_equal(values, noise(last, preset, 3, seed=1).transpose(0, 3, 1, 2))
    with pytest.raises(UsageError, match="6 channels"):
        fit(preset, dataclasses.replace(first, shape=(1, 6, 8, 3)))


def test_every_preset_has_a_bgr_twin():
    assert set(PRESETS) == {f"{n}{s}" for n in ("none", "signed", "unit", "imagenet") for s in ("", "-bgr")}
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        preprocessing_preset("imagnet")


@pytest.mark.parametrize("size", [(20, 12), (12, 20), (8, 8), (5, 9), (1000, 3)])
def test_the_shorter_side_is_resized_and_the_centre_kept(size):
    image = picture(size)
    for x in range(size[0] // 3):
        for y in range(size[1]):
            image.putpixel((x, y), (0, 0, 0))
    values = image_input(image, SPEC, preprocessing_preset("none"))
    assert values.shape == (8, 8, 3)
    assert values[4, 6, 0] > 150  # the right half of the centre keeps its colour


def test_resize_is_of_the_shorter_side_before_the_crop():
    wide = Preprocessing(resize=16)
    image = picture((32, 16), (0, 0, 0))
    image.putpixel((16, 8), (255, 255, 255))
    values = image_input(image, SPEC, wide)
    assert np.unravel_index(values[..., 0].argmax(), (8, 8)) == (4, 4)


def test_one_channel_becomes_gray():
    spec = dataclasses.replace(SPEC, shape=(1, 8, 8, 1))
    fitted = fit(preprocessing_preset("unit"), spec)
    assert fitted.order == "gray"
    assert image_input(picture((9, 9)), spec, fitted).shape == (8, 8, 1)


def test_channels_that_do_not_match_are_refused():
    with pytest.raises(UsageError, match="4 channels"):
        fit(preprocessing_preset("unit"), dataclasses.replace(SPEC, shape=(1, 8, 8, 4)))
    with pytest.raises(UsageError, match="2 values for mean"):
        fit(Preprocessing(mean=(1, 2)), SPEC)


def test_noise_is_seeded_and_in_the_range_of_images():
    signed = preprocessing_preset("signed")
    values = noise(SPEC, signed, 4, seed=0)
    assert np.array_equal(values, noise(SPEC, signed, 4, seed=0))
    assert not np.array_equal(values, noise(SPEC, signed, 4, seed=1))
    assert values.shape == (4, 8, 8, 3)
    assert -1 <= values.min() < -0.9
    assert 0.9 < values.max() <= 1
    flat = noise(TensorSpec(name="input", shape=(1, 5), dtype="float32"), None, 2, seed=0)
    assert flat.shape == (2, 5)


def test_apply_is_scale_then_mean_then_std():
    given = Preprocessing(scale=0.5, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    assert np.allclose(apply(np.array([[10, 20, 30]]), given), [[2.0, 2.0, 1.5]])
