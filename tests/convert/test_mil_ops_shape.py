"""Operations of ML programs that move and pick values, against torch, TensorFlow and numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import ConversionError

pytestmark = pytest.mark.convert
X = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
same = np.testing.assert_array_equal


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="the torch extra is not installed")


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow", reason="the convert extra is not installed")


def test_shapes(mil):
    same(mil("reshape", x=X, shape=[6, -1]), X.reshape(6, 20))
    same(mil("reshape", x=X, shape=[0, 0, -1, 1]), X.reshape(2, 3, 20, 1))
    same(mil("flatten2d", x=X, axis=2), X.reshape(6, 20))
    same(mil("transpose", x=X, perm=[0, 2, -1, 1]), X.transpose(0, 2, 3, 1))
    same(mil("expand_dims", x=X, axes=[0, -1]), X[None, ..., None])
    same(mil("squeeze", x=X[:1, :1], axes=[0]), X[0, :1])
    same(mil("squeeze", x=X[:1, :1]), X[0, 0])
    same(mil("squeeze", x=X[:1], axes=[0, 1]), X[0])
    same(mil("shape", x=X), [2, 3, 4, 5])


def test_joining_and_parting(mil):
    same(mil("concat", values=[X, X + 1], axis=1), np.concatenate([X, X + 1], 1))
    joined = mil("concat", values=[X, X + 1], axis=-3, interleave=True)
    same(joined[:, ::2], X)
    same(joined[:, 1::2], X + 1)
    same(mil("stack", values=[X, X + 1], axis=1), np.stack([X, X + 1], 1))
    assert [part.shape for part in mil("split", x=X, split_sizes=[1, 3, 1], axis=-1)] == [
        (2, 3, 4, 1), (2, 3, 4, 3), (2, 3, 4, 1),
    ]  # fmt: skip
    same(mil("split", x=X, num_splits=2, axis=2)[1], X[:, :, 2:])
    same(mil("tile", x=X, reps=[1, 2, 1, 1]), np.concatenate([X, X], 1))
    same(mil("reverse", x=X, axes=[1, 3]), X[:, ::-1, :, ::-1])
    same(mil("reverse", x=X), X[::-1, ::-1, ::-1, ::-1])


def test_padding_covers_the_last_dimensions(mil, torch):
    given = torch.tensor(X)
    for mode in ("constant", "reflect", "replicate"):
        wanted = torch.nn.functional.pad(given, (3, 0, 1, 2), mode=mode)
        same(mil("pad", x=X, pad=[1, 2, 3, 0], mode=mode), wanted)
    same(
        mil("pad", x=X, pad=[0, 0, 1, 0, 0, 0, 2, 1], constant_val=7.0),
        np.pad(X, [(0, 0), (1, 0), (0, 0), (2, 1)], constant_values=7),
    )
    with pytest.raises(ConversionError, match="mode 'circular'"):
        mil("pad", x=X, pad=[1, 1], mode="circular")


def test_crop(mil):
    same(mil("crop", x=X, crop_height=[1, 0], crop_width=[2, 1]), X[:, :, 1:, 2:4])


def test_sliding_windows(mil, torch):
    got = mil("sliding_windows", x=X, axis=3, size=3, stride=2)
    same(got, torch.tensor(X).unfold(3, 3, 2))
    same(mil("sliding_windows", x=X, axis=-2, size=2), np.stack([X[:, :, :-1], X[:, :, 1:]], 3))


def nchw(x):
    return np.transpose(x, (0, 3, 1, 2))


def test_blocks_are_tensorflows(mil, tf):
    deep = np.arange(2 * 12 * 2 * 3, dtype=np.float32).reshape(2, 12, 2, 3)
    same(
        mil("depth_to_space", x=deep, block_size=2), nchw(tf.nn.depth_to_space(deep.transpose(0, 2, 3, 1), 2))
    )
    wide = X[:, :, :, :4]
    same(
        mil("space_to_depth", x=wide, block_size=2), nchw(tf.nn.space_to_depth(wide.transpose(0, 2, 3, 1), 2))
    )
    pads = [[1, 1], [2, 1]]
    batch = mil("space_to_batch", x=X, block_shape=[2, 4], paddings=pads)
    same(batch, nchw(tf.space_to_batch(X.transpose(0, 2, 3, 1), [2, 4], pads)))
    same(mil("batch_to_space", x=batch, block_shape=[2, 4], crops=pads), X)


def test_pixels_are_torchs(mil, torch):
    deep = np.arange(2 * 12 * 2 * 3, dtype=np.float32).reshape(2, 12, 2, 3)
    wide = mil("pixel_shuffle", x=deep, upscale_factor=2)
    same(wide, torch.nn.functional.pixel_shuffle(torch.tensor(deep), 2))
    same(mil("pixel_unshuffle", x=wide, downscale_factor=2), deep)


def test_slices(mil):
    same(
        mil("slice_by_index", x=X, begin=[0, 1, 0, 1], end=[2, 3, 4, 5], stride=[1, 1, 2, 3]),
        X[:, 1:3, ::2, 1::3],
    )
    masks = {"begin_mask": [1, 0, 0, 0], "end_mask": [1, 0, 1, 0], "squeeze_mask": [0, 0, 0, 1]}
    got = mil("slice_by_index", x=X, begin=[9, 0, -2, 0], end=[9, -1, 9, 2], **masks)
    same(got, X[:, :-1, -2:, 0])
    same(
        mil("slice_by_index", x=X, begin=[0, 0, 0, 0], end=[0, 0, 0, 0], stride=[1, 1, -1, 1],
            begin_mask=[True] * 4, end_mask=[True] * 4),
        X[:, :, ::-1],
    )  # fmt: skip
    single = {
        "squeeze_mask": [True, True, False, False],
        "begin_mask": [True, False, True, True],
        "end_mask": [True] * 4,
    }
    same(mil("slice_by_index", x=X, begin=[1, 2, 0, 0], end=[0] * 4, **single), X[0, 2])
    same(mil("slice_by_size", x=X, begin=[0, 1, -3, 2], size=[2, 1, 2, -1]), X[:, 1:2, 1:3, 2:])


def test_gathering(mil, tf):
    same(mil("gather", x=X, indices=[2, 0], axis=1), X[:, [2, 0]])
    same(mil("gather", x=X, indices=-1, axis=-1), X[..., -1])
    same(mil("gather", x=X, indices=[[0, 1], [1, 0]]), X[[[0, 1], [1, 0]]])
    chosen = np.array([[1, 0], [2, 2]])
    same(mil("gather", x=X, indices=chosen, axis=2, batch_dims=1), tf.gather(X, chosen, axis=2, batch_dims=1))
    places = X.astype(np.int32) % 3
    same(mil("gather_along_axis", x=X, indices=places, axis=1), np.take_along_axis(X, places, 1))
    pairs = np.array([[0, 1], [1, 2]])
    same(mil("gather_nd", x=X, indices=pairs), tf.gather_nd(X, pairs))
    deep = np.array([[[0, 1], [1, 2]], [[2, 3], [0, 0]]])
    same(mil("gather_nd", x=X, indices=deep, batch_dims=1), tf.gather_nd(X, deep, batch_dims=1))


def test_order(mil, rng, torch):
    x = rng.normal(size=(3, 7)).astype(np.float32)
    for ascending in (False, True):
        values, places = mil("topk", x=x, k=3, axis=1, ascending=ascending)
        wanted = torch.topk(torch.tensor(x), 3, dim=1, largest=not ascending)
        same(values, wanted.values)
        same(places, wanted.indices)
        same(
            mil("argsort", x=x, ascending=ascending), torch.argsort(torch.tensor(x), descending=not ascending)
        )


def test_tensors_of_few_values(mil, tf):
    same(mil("fill", shape=[2, 3], value=np.float32(4)), np.full((2, 3), 4))
    same(mil("fill", shape=[2]), [0, 0])
    same(mil("range_1d", start=np.int32(1), end=np.int32(9), step=np.int32(3)), [1, 4, 7])
    hot = mil("one_hot", indices=[0, 2], one_hot_vector_size=3, on_value=2.0, off_value=-1.0, axis=0)
    same(hot, tf.one_hot([0, 2], 3, 2.0, -1.0, axis=0))
    same(mil("one_hot", indices=[0, 2], one_hot_vector_size=3), np.eye(3)[[0, 2]])
    for lower, upper in ((0, -1), (-1, 1), (2, 0)):
        same(mil("band_part", x=X, lower=lower, upper=upper), tf.linalg.band_part(X, lower, upper))
    same(mil("identity", x=X), X)


def test_operations_have_core_mls_names():
    pytest.importorskip("coremltools", reason="the convert extra is not installed")
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    from edgekit.convert.mil.operations import operations

    known = set(SSAOpRegistry.core_ops)
    assert set(operations()) <= known
    left = known - set(operations())
    assert not [
        name for name in left if name.startswith(("reduce", "constexpr", "upsample", "space", "pixel"))
    ]
    assert {"conv_quantized", "while_loop", "lstm", "non_maximum_suppression"} <= left
