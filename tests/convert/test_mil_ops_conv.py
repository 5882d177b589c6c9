"""Convolutions and products of ML programs, against torch, TensorFlow and plain loops."""

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
    np.testing.assert_allclose(got, np.asarray(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(
    "case",
    [
        ((1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        ((3, 2), (1, 2), (2, 1), (2, 0, 1, 3)),
        ((5, 5), (3, 1), (1, 2), (0, 4, 2, 2)),
    ],
)
def test_conv(mil, rng, torch, groups, case):
    kernel, strides, dilations, pad = case
    x, weight, bias = normal(rng, 2, 6, 13, 14), normal(rng, 12, 6 // groups, *kernel), normal(rng, 12)
    top, bottom, left, right = pad
    whole = torch.nn.functional.pad(torch.tensor(x), (left, right, top, bottom))
    wanted = torch.nn.functional.conv2d(
        whole, torch.tensor(weight), torch.tensor(bias), strides, 0, dilations, groups
    )
    got = mil("conv", x=x, weight=weight, bias=bias, strides=strides, dilations=dilations, groups=groups,
              pad_type="custom", pad=pad)  # fmt: skip
    close(got, wanted)


def test_conv_is_right_by_hand(mil):
    """One place of the kernel at a time, so that a wrong order of channels or places would show."""
    x = np.arange(2 * 3 * 3, dtype=np.float32).reshape(1, 2, 3, 3)
    for channel, row, column in itertools.product(range(2), range(2), range(2)):
        weight = np.zeros((1, 2, 2, 2), np.float32)
        weight[0, channel, row, column] = 1
        np.testing.assert_array_equal(
            mil("conv", x=x, weight=weight)[0, 0], x[0, channel, row : row + 2, column : column + 2]
        )


@pytest.mark.parametrize("case", list(itertools.product((7, 8), (2, 3, 5))))
@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_same_is_tensorflows(mil, rng, tf, case, steps):
    size, kernel = case
    stride, dilation = steps
    x, weight = normal(rng, 1, 3, size, 9), normal(rng, 4, 3, kernel, kernel)
    wanted = tf.nn.conv2d(
        x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0), stride, "SAME", dilations=dilation
    )
    got = mil("conv", x=x, weight=weight, pad_type="same", strides=[stride] * 2, dilations=[dilation] * 2)
    close(got, np.transpose(wanted, (0, 3, 1, 2)))


@pytest.mark.parametrize(("size", "kernel", "stride"), list(itertools.product((7, 8), (2, 3, 4), (1, 2))))
def test_same_lower_is_same_seen_from_the_other_end(mil, rng, size, kernel, stride):
    x, weight = normal(rng, 1, 2, size, size), normal(rng, 3, 2, kernel, kernel)
    there = mil("conv", x=x, weight=weight, pad_type="same_lower", strides=[stride] * 2)
    flipped = mil(
        "conv", x=x[..., ::-1, ::-1], weight=weight[..., ::-1, ::-1], pad_type="same", strides=[stride] * 2
    )
    close(there, flipped[..., ::-1, ::-1])


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise_may_give_several_channels_for_one(mil, rng, torch, multiplier):
    x, weight = normal(rng, 1, 5, 8, 8), normal(rng, 5 * multiplier, 1, 3, 3)
    wanted = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(weight), stride=2, padding=1, groups=5)
    close(mil("conv", x=x, weight=weight, strides=[2, 2], pad_type="custom", pad=[1] * 4, groups=5), wanted)


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_in_one_and_three_dimensions(mil, rng, torch, rank):
    x, weight = normal(rng, 2, 4, *(9, 8, 7)[:rank]), normal(rng, 6, 2, *(3, 2, 3)[:rank])
    function = {1: torch.nn.functional.conv1d, 3: torch.nn.functional.conv3d}[rank]
    wanted = function(torch.tensor(x), torch.tensor(weight), stride=2, groups=2)
    close(mil("conv", x=x, weight=weight, strides=[2] * rank, groups=2, pad_type="valid"), wanted)


def test_an_unknown_padding_is_named(mil, rng):
    with pytest.raises(ConversionError, match="pad_type 'sideways' is not known"):
        mil("conv", x=normal(rng, 1, 1, 4, 4), weight=normal(rng, 1, 1, 2, 2), pad_type="sideways")
    with pytest.raises(ConversionError, match="input 'weight' is missing"):
        mil("conv", x=normal(rng, 1, 1, 4, 4))


@pytest.mark.parametrize(
    "case",
    [(1, 0, 0, 1, 1), (2, 1, 0, 1, 1), (2, 1, 1, 1, 2), (3, 2, 2, 1, 4), (2, 0, 1, 2, 1), (3, 0, 2, 1, 1)],
)
def test_conv_transpose(mil, rng, torch, case):
    stride, pad, extra, dilation, groups = case
    x, weight, bias = normal(rng, 2, 4, 5, 6), normal(rng, 4, 3, 3, 2), normal(rng, 3 * groups)
    wanted = torch.nn.functional.conv_transpose2d(
        torch.tensor(x), torch.tensor(weight), torch.tensor(bias), stride, pad, extra, groups, dilation
    )
    got = mil("conv_transpose", x=x, weight=weight, bias=bias, strides=[stride] * 2, pad_type="custom",
              pad=[pad] * 4, dilations=[dilation] * 2, groups=groups,
              output_shape=tuple(wanted.shape))  # fmt: skip
    close(got, wanted)


@pytest.mark.parametrize("case", [(1, 3, 5), (2, 3, 10), (2, 4, 10), (2, 3, 9), (3, 2, 15), (2, 5, 9)])
def test_conv_transpose_same_is_tensorflows(mil, rng, tf, case):
    stride, kernel, size = case
    small = -(-size // stride)
    x, weight = normal(rng, 1, 3, small, small), normal(rng, 3, 2, kernel, kernel)
    wanted = tf.nn.conv2d_transpose(
        x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0), (1, size, size, 2), stride, "SAME"
    )
    got = mil("conv_transpose", x=x, weight=weight, strides=[stride] * 2, pad_type="same",
              output_shape=(1, 2, size, size))  # fmt: skip
    close(got, np.transpose(wanted, (0, 3, 1, 2)))
    if size == small * stride:
        close(mil("conv_transpose", x=x, weight=weight, strides=[stride] * 2, pad_type="same"), got)


def test_conv_transpose_without_settings(mil, rng, torch):
    x, weight = normal(rng, 1, 2, 4), normal(rng, 2, 3, 3)
    close(
        mil("conv_transpose", x=x, weight=weight),
        torch.nn.functional.conv_transpose1d(torch.tensor(x), torch.tensor(weight)),
    )


def test_products(mil, rng):
    x, weight, bias = normal(rng, 2, 3, 4), normal(rng, 5, 4), normal(rng, 5)
    close(mil("linear", x=x, weight=weight, bias=bias), x @ weight.T + bias)
    close(mil("linear", x=x, weight=weight), x @ weight.T)
    y = normal(rng, 2, 5, 3)
    close(mil("matmul", x=x, y=y, transpose_x=True, transpose_y=True), np.einsum("bij,bki->bjk", x, y))
    close(mil("matmul", x=weight, y=x, transpose_y=True), np.einsum("ij,bkj->bik", weight, x))
    close(mil("einsum", values=[x, y], equation="bij,bki->bjk"), np.einsum("bij,bki->bjk", x, y))


@pytest.mark.parametrize("mask", [None, "truth", "numbers"])
def test_attention(mil, rng, torch, mask):
    query, key, value = normal(rng, 1, 2, 5, 8), normal(rng, 1, 2, 7, 8), normal(rng, 1, 2, 7, 4)
    given = {"truth": rng.random((5, 7)) < 0.7, "numbers": normal(rng, 5, 7)}.get(mask)
    if mask == "truth":
        given[:, 0] = True
    wanted = torch.nn.functional.scaled_dot_product_attention(
        torch.tensor(query),
        torch.tensor(key),
        torch.tensor(value),
        None if mask is None else torch.tensor(given),
    )
    close(mil("scaled_dot_product_attention", query=query, key=key, value=value, attn_mask=given), wanted)
