"""Pooling and resizing in ML programs, against torch, TensorFlow and plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.errors import ConversionError

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="the torch extra is not installed")


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow", reason="the convert extra is not installed")


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def close(got, wanted):
    np.testing.assert_allclose(got, np.asarray(wanted), rtol=1e-5, atol=1e-5)


SETTINGS = list(itertools.product((6, 7, 8, 9), (2, 3), (1, 2, 3), (0, 1), (False, True)))


# MIL's formula leaves a window here that torch drops.
OUTSIDE = {(6, 2, 3, 0, True), (9, 2, 3, 0, True)}


@pytest.mark.parametrize("case", SETTINGS)
def test_pools_are_torchs(mil, rng, torch, case):
    size, kernel, stride, pad, ceil = case
    x = normal(rng, 2, 3, size, 7)
    settings = {"kernel_sizes": [kernel] * 2, "strides": [stride] * 2, "ceil_mode": ceil,
                "pad_type": "custom" if pad else "valid", "pad": [pad] * 4 if pad else None}  # fmt: skip
    if case in OUTSIDE:
        with pytest.raises(ConversionError, match="last window lies outside"):
            mil("max_pool", x=x, **settings)
        return
    given = (torch.tensor(x), kernel, stride, pad)
    close(mil("max_pool", x=x, **settings), torch.nn.functional.max_pool2d(*given, ceil_mode=ceil))
    for exclude in (False, True):
        wanted = torch.nn.functional.avg_pool2d(*given, ceil_mode=ceil, count_include_pad=not exclude)
        close(mil("avg_pool", x=x, exclude_padding_from_average=exclude, **settings), wanted)


@pytest.mark.parametrize("case", list(itertools.product((5, 6, 7), (2, 3, 5), (1, 2))))
def test_same_is_tensorflows(mil, rng, tf, case):
    size, kernel, stride = case
    x = normal(rng, 1, 2, size, size)
    settings = {"kernel_sizes": [kernel] * 2, "strides": [stride] * 2, "pad_type": "same"}
    for name, function in (("max_pool", tf.nn.max_pool2d), ("avg_pool", tf.nn.avg_pool2d)):
        wanted = np.transpose(function(x.transpose(0, 2, 3, 1), kernel, stride, "SAME"), (0, 3, 1, 2))
        extra = {"exclude_padding_from_average": True} if name == "avg_pool" else {}
        close(mil(name, x=x, **extra, **settings), wanted)
        lower = mil(name, x=x[..., ::-1, ::-1], **extra, **{**settings, "pad_type": "same_lower"})
        close(lower[..., ::-1, ::-1], wanted)


def loop(x, kernel, stride, pad, function):
    """Pool one image of one channel, window by window, zeros around it."""
    whole = np.pad(x, [(pad[0], pad[1]), (pad[2], pad[3])])
    rows = range(0, whole.shape[0] - kernel + 1, stride)
    columns = range(0, whole.shape[1] - kernel + 1, stride)
    return [[function(whole[r : r + kernel, c : c + kernel]) for c in columns] for r in rows]


@pytest.mark.parametrize("pad", [(0, 1, 2, 0), (1, 1, 0, 2), (2, 2, 2, 2)])
def test_uneven_padding_window_by_window(mil, rng, pad):
    x = normal(rng, 1, 1, 7, 8)
    settings = {"x": x, "kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": pad}
    close(mil("avg_pool", **settings)[0, 0], loop(x[0, 0], 3, 2, pad, np.mean))
    close(mil("l2_pool", **settings)[0, 0], loop(x[0, 0], 3, 2, pad, lambda w: np.sqrt((w * w).sum())))
    inside = np.array(loop(np.ones((7, 8)), 3, 2, pad, np.sum))
    total = np.array(loop(x[0, 0], 3, 2, pad, np.sum))
    close(mil("avg_pool", exclude_padding_from_average=True, **settings)[0, 0], total / inside)
    low = mil("max_pool", **{**settings, "x": x - 100})
    assert low.max() < -90, "padding never wins over what is there"


def test_one_and_three_dimensions(mil, rng, torch):
    line, block = normal(rng, 1, 2, 9), normal(rng, 1, 2, 6, 6, 6)
    close(
        mil("max_pool", x=line, kernel_sizes=[3], strides=[2]),
        torch.nn.functional.max_pool1d(torch.tensor(line), 3, 2),
    )
    close(
        mil("avg_pool", x=block, kernel_sizes=[2] * 3, strides=[2] * 3),
        torch.nn.functional.avg_pool3d(torch.tensor(block), 2),
    )


BILINEAR = {
    "DEFAULT": {"align_corners": False, "half_pixel_centers": False},
    "STRICT_ALIGN_CORNERS": {"align_corners": True, "half_pixel_centers": False},
    "ALIGN_CORNERS": {"align_corners": True, "half_pixel_centers": False},
    "UNALIGN_CORNERS": {"align_corners": False, "half_pixel_centers": True},
}


@pytest.mark.parametrize("mode", BILINEAR)
@pytest.mark.parametrize("size", [(5, 7), (10, 14), (3, 4), (8, 5)])
def test_resize_bilinear_is_tensorflows(mil, rng, tf, mode, size):
    x = normal(rng, 1, 2, 5, 7)
    wanted = tf.raw_ops.ResizeBilinear(images=x.transpose(0, 2, 3, 1), size=size, **BILINEAR[mode])
    got = mil(
        "resize_bilinear", x=x, target_size_height=size[0], target_size_width=size[1], sampling_mode=mode
    )
    close(got, np.transpose(wanted, (0, 3, 1, 2)))
    close(mil("resize", x=x, shape=[0, *size], resized_dims=2, sampling_mode=mode), got)


def test_the_documented_grids(mil):
    """The figures that MIL's documentation gives for 2 samples resized to 5 and 6."""
    x = np.array([[[0.0, 1.0]]], np.float32)
    for mode, wanted in {
        "UNALIGN_CORNERS": [0, 0.1, 0.5, 0.9, 1],
        "STRICT_ALIGN_CORNERS": [0, 0.25, 0.5, 0.75, 1],
        "DEFAULT": [0, 0.4, 0.8, 1, 1],
        "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9],
    }.items():
        got = mil("resize_bilinear", x=x, target_size_height=1, target_size_width=5, sampling_mode=mode)
        np.testing.assert_allclose(got[0, 0], wanted, atol=1e-6)
    middle = mil(
        "resize_bilinear", x=x, target_size_height=1, target_size_width=1, sampling_mode="ALIGN_CORNERS"
    )
    assert middle.item() == 0.5
    with pytest.raises(ConversionError, match="sampling mode 'SIDEWAYS'"):
        mil("resize_bilinear", x=x, target_size_height=1, target_size_width=5, sampling_mode="SIDEWAYS")


@pytest.mark.parametrize("aligned", [None, True, False])
def test_upsample_bilinear_is_torchs(mil, rng, torch, aligned):
    x = normal(rng, 1, 2, 4, 5)
    wanted = torch.nn.functional.interpolate(
        torch.tensor(x), size=(8, 15), mode="bilinear", align_corners=aligned is not False
    )
    close(
        mil("upsample_bilinear", x=x, scale_factor_height=2, scale_factor_width=3.0, align_corners=aligned),
        wanted,
    )


@pytest.mark.parametrize("size", [(8, 15), (6, 7), (3, 2)])
def test_nearest_is_torchs(mil, rng, torch, size):
    x = normal(rng, 1, 2, 4, 5)
    wanted = torch.nn.functional.interpolate(torch.tensor(x), size=size, mode="nearest")
    close(mil("resize_nearest_neighbor", x=x, target_size_height=size[0], target_size_width=size[1]), wanted)
    close(mil("resize", x=x, shape=size, resized_dims=2, interpolation_mode="NEAREST_NEIGHBOR"), wanted)
    if size == (8, 15):
        close(mil("upsample_nearest_neighbor", x=x, scale_factor_height=2, scale_factor_width=3), wanted)


def test_what_has_no_clear_meaning_is_refused(mil, rng):
    x = normal(rng, 1, 2, 4, 5)
    with pytest.raises(ConversionError, match="nearest neighbour in the sampling mode OFFSET_CORNERS"):
        mil(
            "resize",
            x=x,
            shape=[8, 8],
            resized_dims=2,
            interpolation_mode="NEAREST_NEIGHBOR",
            sampling_mode="OFFSET_CORNERS",
        )
    with pytest.raises(ConversionError, match="resizes 3 dimensions"):
        mil("resize", x=x, shape=[2, 8, 8], resized_dims=3)
