"""What must hold of ML programs' operations for any settings, and what half floats do to values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.convert.mil.conv import margins
from edgekit.convert.mil.operations import Given, evaluates, operations
from edgekit.convert.mil.resize import grid
from edgekit.convert.mil.values import settle, unpack
from edgekit.errors import ConversionError

pytestmark = pytest.mark.convert
QUICK = settings(max_examples=60, deadline=None)


def run(name, **inputs):
    """Evaluate one operation; hypothesis takes no fixtures of one test's life."""
    taken = {k: v if isinstance(v, str) else np.asarray(v) for k, v in inputs.items()}
    return operations()[name].evaluate(Given(taken))


@st.composite
def windows(draw):
    """A kernel, strides, dilations, padding, groups, and an input that the kernel fits."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pad = draw(st.tuples(*[st.integers(0, 2)] * 4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = [s + draw(st.integers(0, 6)) for s in spans]
    return {
        "kernel": kernel,
        "sizes": sizes,
        "groups": draw(st.sampled_from([1, 2, 4])),
        "settings": {
            "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "dilations": dilations,
            "pad_type": "custom",
            "pad": pad,
        },
    }


@QUICK
@given(windows(), st.integers(0, 2**32 - 1))
def test_a_transposed_convolution_is_the_convolutions_adjoint(window, seed):
    """<conv(x), y> = <x, conv_transpose(y)> for the same weights: neither can be wrong alone."""
    rng = np.random.default_rng(seed)
    groups, asked = window["groups"], window["settings"]
    x = rng.normal(size=(1, 4, *window["sizes"])).astype(np.float32)
    weight = rng.normal(size=(8, 4 // groups, *window["kernel"])).astype(np.float32)
    there = run("conv", x=x, weight=weight, groups=groups, **asked)
    y = rng.normal(size=there.shape).astype(np.float32)
    back = run("conv_transpose", x=y, weight=weight, groups=groups, output_shape=x.shape, **asked)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(there, y), np.vdot(x, back), rtol=1e-3, atol=1e-2)


@QUICK
@given(windows(), st.integers(0, 2**32 - 1))
def test_convolution_is_linear_and_its_bias_is_added(window, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 1, 4, *window["sizes"])).astype(np.float32)
    weight = rng.normal(size=(8, 4 // window["groups"], *window["kernel"])).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    asked = {"weight": weight, "groups": window["groups"], **window["settings"]}
    both = run("conv", x=x, **asked) + 2 * run("conv", x=y, **asked)
    np.testing.assert_allclose(run("conv", x=x + 2 * y, **asked), both, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        run("conv", x=x, bias=bias, **asked), run("conv", x=x, **asked) + bias[:, None, None], atol=1e-5
    )


@QUICK
@given(windows(), st.integers(0, 2**32 - 1))
def test_an_average_is_a_depthwise_convolution(window, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, 3, *window["sizes"])).astype(np.float32)
    kernel = window["kernel"]
    asked = {k: v for k, v in window["settings"].items() if k != "dilations"}
    weight = np.full((3, 1, *kernel), 1 / np.prod(kernel), np.float32)
    mean = run("avg_pool", x=x, kernel_sizes=kernel, **asked)
    np.testing.assert_allclose(mean, run("conv", x=x, weight=weight, groups=3, **asked), atol=1e-5)
    highest = run("max_pool", x=x, kernel_sizes=kernel, **asked)
    squares = run("l2_pool", x=x, kernel_sizes=kernel, **asked)
    assert highest.shape == mean.shape == squares.shape
    assert np.all(squares**2 <= np.prod(kernel) * np.abs(x).max() ** 2 + 1e-3)


@QUICK
@given(st.sampled_from(["same", "same_lower"]), st.integers(1, 30), st.integers(1, 7), st.integers(1, 4))
def test_same_gives_a_window_for_each_stride(kind, size, span, step):
    before, after = margins(kind, [size], [span], [step])
    count = (size + before + after - span) // step + 1
    assert count == -(-size // step)
    assert (after - before if kind == "same" else before - after) in {0, 1}


def test_valid_has_no_margins():
    assert margins("valid", [5, 6], [3, 3], [1, 2]) == [0, 0, 0, 0]


@QUICK
@given(
    st.sampled_from(
        ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]
    ),
    st.integers(1, 20),
    st.integers(1, 40),
)
def test_samples_lie_on_the_image_in_order(mode, size, wanted):
    places = grid(size, wanted, mode)
    assert places.shape == (wanted,)
    assert places.min() >= 0
    assert places.max() <= size - 1
    assert np.all(np.diff(places) >= 0)
    if size == wanted and mode != "OFFSET_CORNERS":
        np.testing.assert_allclose(places, np.arange(size) if size > 1 else [0], atol=1e-9)


@QUICK
@given(st.integers(1, 8), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_packed_bits_come_back(bits, count, seed):
    values = np.random.default_rng(seed).integers(0, 2**bits, count).astype(np.uint8)
    stream = (values[:, None] >> np.arange(bits)) & 1
    packed = np.packbits(stream.astype(np.uint8).ravel(), bitorder="little")
    np.testing.assert_array_equal(unpack(packed, bits, count), values)


@QUICK
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_half_floats_are_rounded_once(values):
    once = settle(np.float32(values), "float16")
    np.testing.assert_array_equal(settle(once, "float16"), once)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(once, np.float32(values).astype(np.float16).astype(np.float32))


@QUICK
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_blocks_and_pixels_go_there_and_back(rows, columns, block, seed):
    x = np.random.default_rng(seed).normal(size=(2, 3, rows * block, columns * block)).astype(np.float32)
    deep = run("space_to_depth", x=x, block_size=block)
    np.testing.assert_array_equal(run("depth_to_space", x=deep, block_size=block), x)
    deep = run("pixel_unshuffle", x=x, downscale_factor=block)
    np.testing.assert_array_equal(run("pixel_shuffle", x=deep, upscale_factor=block), x)
    batch = run("space_to_batch", x=x, block_shape=[block, block], paddings=np.zeros((2, 2), int))
    back = run("batch_to_space", x=batch, block_shape=[block, block], crops=np.zeros((2, 2), int))
    np.testing.assert_array_equal(back, x)


@QUICK
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_what_is_split_can_be_joined(sizes, seed):
    x = np.random.default_rng(seed).normal(size=(2, sum(sizes), 3)).astype(np.float32)
    parts = run("split", x=x, split_sizes=sizes, axis=1)
    assert [part.shape[1] for part in parts] == sizes
    joined = operations()["concat"].evaluate(Given({"values": list(parts), "axis": np.int32(1)}))
    np.testing.assert_array_equal(joined, x)


@QUICK
@given(st.sampled_from(["int8", "uint8"]), st.floats(1e-3, 10), st.integers(0, 2**32 - 1))
def test_quantizing_errs_by_half_a_step_inside_the_range(kind, scale, seed):
    x = np.random.default_rng(seed).normal(size=50).astype(np.float32) * 100 * np.float32(scale)
    held = run("quantize", input=x, scale=np.float32(scale), output_dtype=kind)
    back = run("dequantize", input=held, scale=np.float32(scale))
    limits = np.iinfo(kind)
    inside = (x / scale > limits.min) & (x / scale < limits.max)
    assert np.all(np.abs(back - x)[inside] <= scale * 0.5001)
    assert np.all((held == limits.min) | (held == limits.max) | inside)


class TestGiven:
    """Inputs as a program has them: arrays of rank 0 and 1, words, lists, or nothing."""

    given = Given({
        "vector": np.int32([1, 2]), "scalar": np.int32(3), "half": np.float32(0.5), "word": "same",
        "several": [np.ones(1), np.zeros(2)], "one": np.ones(3), "truth": np.array([True, False]),
    })  # fmt: skip

    def test_what_is_there(self):
        assert self.given.ints("vector") == [1, 2]
        assert self.given.ints("scalar") == [3]
        assert self.given.integer("scalar", 9) == 3
        assert self.given.number("half", 9.0) == 0.5
        assert self.given.text("word", "valid") == "same"
        assert self.given.flags("truth", 2) == [True, False]
        assert [len(a) for a in self.given.many("several")] == [1, 2]
        assert len(self.given.many("one")) == 1
        assert self.given["one"].shape == (3,)

    def test_what_is_left_out(self):
        assert self.given.ints("gone", [7]) == [7]
        assert self.given.integer("gone", 9) == 9
        assert self.given.number("gone", 9.0) == 9.0
        assert self.given.text("gone", "valid") == "valid"
        assert self.given.flags("gone", 2) == [False, False]
        assert self.given.flag("gone") is False
        assert self.given.array("gone") is None
        for needed in (self.given.ints, self.given.integer, self.given.many, self.given.__getitem__):
            with pytest.raises(ConversionError, match="its input 'gone' is missing"):
                needed("gone")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'relu' is registered twice"):
        evaluates("relu")(lambda given: given["x"])
    assert len(operations()) > 120
