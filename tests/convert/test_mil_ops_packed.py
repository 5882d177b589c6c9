"""Values of ML programs as they are stored: blob files, packed bits, compressed and quantized weights."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.convert.mil.values import Blobs, constant, from_bytes, settle, unpack
from edgekit.errors import ConversionError

pytestmark = pytest.mark.convert
same = np.testing.assert_array_equal


@pytest.fixture(scope="module")
def theirs():
    """coremltools' own definitions, each with the values that it stands for."""
    pytest.importorskip("coremltools", reason="the convert extra is not installed")
    from coremltools.converters.mil.mil.ops.defs import iOS16, iOS18

    return {"old": iOS16, "new": iOS18}


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_packed_bits(bits, signed, rng, theirs):
    from coremltools.optimize._utils import pack_elements_into_bits

    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = rng.integers(low, high, 37).astype(np.int8 if signed else np.uint8)
    packed = pack_elements_into_bits(values, bits)
    same(unpack(packed, bits, 37, signed=signed), values)


BLOBS = {
    "float_data": ("float32", 11), "int8_data": ("int8", 21), "uint8_data": ("uint8", 31),
    "int16_data": ("int16", 22), "uint16_data": ("uint16", 32), "int32_data": ("int32", 23),
    "uint32_data": ("uint32", 33), "fp16_data": ("float16", 10),
}  # fmt: skip


@pytest.mark.parametrize("kind", BLOBS)
def test_a_blob_file_that_coremltools_wrote(kind, rng, theirs, tmp_path):
    from coremltools.libmilstoragepython import _BlobStorageWriter
    from coremltools.proto import MIL_pb2

    dtype, number = BLOBS[kind]
    values = (rng.normal(size=12) * 50 + 64).astype(dtype)
    writer = _BlobStorageWriter(str(tmp_path / "weight.bin"))
    writer.write_float_data(np.zeros(3, np.float32))
    offset = getattr(writer, f"write_{kind}")(values.view(np.uint16) if dtype == "float16" else values)
    del writer  # it writes the count of its weights when it goes
    place = MIL_pb2.Value.BlobFileValue(fileName="@model_path/weights/weight.bin", offset=offset)
    found = Blobs(tmp_path).read(place, number, (3, 4))
    assert found.dtype == dtype
    same(found, values.reshape(3, 4))
    with pytest.raises(ConversionError, match=r"weight file weight\.bin does not hold"):
        Blobs(tmp_path).read(place, 24, (3, 4))
    with pytest.raises(
        ConversionError, match="has 48 bytes" if dtype[-2:] == "32" else r"bytes, \d+ are needed"
    ):
        Blobs(tmp_path).read(place, number, (3, 5, 9))
    place.offset = 10**6
    with pytest.raises(ConversionError, match=r"weight file weight\.bin is shorter"):
        Blobs(tmp_path).read(place, number, (3, 4))
    place.fileName = "@model_path/weights/gone.bin"
    with pytest.raises(ConversionError, match=r"lacks its weight file 'gone\.bin'"):
        Blobs(tmp_path).read(place, number, (3, 4))


@pytest.mark.parametrize(
    "value",
    [
        np.float32([[1.5, -2], [3, 4]]), np.float16([1.5, 65504]), np.array([1, -2], np.int32),
        np.array([True, False]), np.array([3, 250], np.uint8), np.array([[-3], [100]], np.int8),
        np.int32(7), np.float32(0.1),
        np.array([300, -300], np.int16),
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)  # fmt: skip
def test_constants_in_a_program(value, theirs):
    from coremltools.converters.mil.backend.mil.helper import create_scalar_value, create_tensor_value

    proto = create_tensor_value(value) if value.shape else create_scalar_value(value)
    found = constant(proto, Blobs(None))
    assert found.dtype == (np.float32 if value.dtype == np.float16 else value.dtype)
    assert found.shape == value.shape
    same(found, value)


def test_text_and_an_empty_tensor_in_a_program(theirs):
    from coremltools.converters.mil.backend.mil.helper import create_scalar_value, create_tensor_value

    assert constant(create_scalar_value("same"), Blobs(None)) == "same"
    assert constant(create_tensor_value(np.zeros((0, 2), np.float32)), Blobs(None)).shape == (0, 2)


def test_half_floats_lose_what_they_lose():
    value = np.float32([1 / 3, 2049, 1e-8, 70000, -70000])
    got = settle(value, "float16")
    assert got.dtype == np.float32
    same(got, np.float32([0.33325195, 2048, 0, np.inf, -np.inf]))
    same(settle(value, "float32"), value)
    same(settle(np.float32([2.9, -2.9]), "int32"), [2, -2])
    same(from_bytes(b"\x0f\xf1", 25, (4,)), [-1, 0, 1, -1])


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 0, 1, 3])
def test_quantize_and_dequantize(mil, rng, kind, axis):
    x = (rng.normal(size=(4, 3, 2, 5)) * 30).astype(np.float32)
    shape = () if axis is None else (x.shape[axis],)
    scale = rng.uniform(0.05, 0.5, shape).astype(np.float32)
    zero = rng.integers(0, 9, shape).astype(kind)
    wide = [1 if axis is None or i != axis else -1 for i in range(4)]
    steps = np.round(x / scale.reshape(wide)) + zero.reshape(wide).astype(int)
    limits = np.iinfo(kind)
    wanted = np.clip(steps, limits.min, limits.max)
    got = mil("quantize", input=x, scale=scale, zero_point=zero, axis=axis, output_dtype=kind)
    assert got.dtype == kind
    same(got, wanted)
    back = (got.astype(np.float32) - zero.reshape(wide)) * scale.reshape(wide)
    same(mil("dequantize", input=got, scale=scale, zero_point=zero, axis=axis), back)
    same(mil("dequantize", input=got, scale=scale, axis=axis), got * scale.reshape(wide))
    old = {"quantized_data": got, "scale": scale, "zero_point": zero, "axis": axis or 0}
    same(mil("constexpr_affine_dequantize", **old), back)


def test_halves_round_to_even_and_other_types_are_refused(mil):
    same(
        mil("quantize", input=np.float32([0.5, 1.5, -0.5, 300]), scale=np.float32(1), output_dtype="int8"),
        [0, 2, 0, 127],
    )
    with pytest.raises(ConversionError, match="output_dtype 'int4'"):
        mil("quantize", input=np.float32([1]), scale=np.float32(1), output_dtype="int4")


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_a_table_of_the_old_form(mil, rng, theirs, bits):
    from coremltools.optimize._utils import pack_elements_into_bits

    table = rng.normal(size=2**bits).astype(np.float32)
    indices = pack_elements_into_bits(rng.integers(0, 2**bits, 30).astype(np.uint8), bits)
    shape = np.array([5, 3, 2], np.uint32)
    wanted = theirs["old"].constexpr_lut_to_dense.decompress(table, indices, shape)
    same(mil("constexpr_lut_to_dense", indices=indices, lut=table, shape=shape), wanted)


@pytest.mark.parametrize(
    "case",
    [
        ((1, 1), 1, None),
        ((2, 1), 1, None),
        ((3, 2), 1, None),
        ((1, 1), 2, 0),
        ((1, 2), 2, 1),
        ((2, 1), 3, -1),
    ],
)
def test_tables_of_the_new_form(mil, rng, theirs, case):
    blocks, length, axis = case
    indices = rng.integers(0, 4, (6, 4)).astype(np.uint8)
    tables = rng.normal(size=(*blocks, 4, length)).astype(np.float32)
    wanted = theirs["new"].constexpr_lut_to_dense.decompress(indices, tables, axis)
    same(mil("constexpr_lut_to_dense", indices=indices, lut=tables, vector_axis=axis), wanted)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (6, 1, 1), (3, 2, 4)])
@pytest.mark.parametrize("shifted", [False, True])
def test_blocks_with_a_scale_each(mil, rng, theirs, blocks, shifted):
    data = rng.integers(-8, 8, (6, 4, 4)).astype(np.int8)
    scale = rng.uniform(0.1, 1, blocks).astype(np.float32)
    offset = rng.integers(-3, 3, blocks).astype(np.int8) if shifted else None
    wanted = theirs["new"].constexpr_blockwise_shift_scale.decompress(data, scale, offset)
    got = mil("constexpr_blockwise_shift_scale", data=data, scale=scale, offset=offset)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_sparse_weights_of_both_forms(mil, rng, theirs):
    mask = (rng.random((5, 7)) < 0.4).astype(np.uint8)
    values = rng.normal(size=int(mask.sum())).astype(np.float32)
    wanted = theirs["new"].constexpr_sparse_to_dense.decompress(values, mask)
    same(mil("constexpr_sparse_to_dense", nonzero_data=values, mask=mask), wanted)
    packed = np.packbits(mask.ravel(), bitorder="little")
    same(mil("constexpr_sparse_to_dense", nonzero_data=values, mask=packed, shape=np.uint32([5, 7])), wanted)
    with pytest.raises(ConversionError, match="its mask has"):
        mil("constexpr_sparse_to_dense", nonzero_data=values[1:], mask=mask)


def test_sparse_and_quantized_at_once(mil, rng, theirs):
    mask = (rng.random((6, 4)) < 0.5).astype(np.uint8)
    data = rng.integers(0, 4, int(mask.sum())).astype(np.uint8)
    scale, offset = np.float32([[0.1, 0.2, 0.3, 0.4]]), np.uint8([[1, 2, 0, 3]])
    got = mil(
        "constexpr_sparse_blockwise_shift_scale",
        data_mask=mask,
        nonzero_data=data,
        scale=scale,
        offset=offset,
    )
    wanted = np.where(mask, 0.0, 0.0)
    wanted[mask != 0] = data
    same(got[0], mask)
    np.testing.assert_allclose(got[1], ((wanted - offset) * scale)[mask != 0], rtol=1e-6)
    tables = rng.normal(size=(1, 1, 4, 1)).astype(np.float32)
    got = mil("constexpr_lut_to_sparse", indices_mask=mask, indices_nonzero_data=data, lut=tables)
    same(got[0], mask)
    same(got[1], tables.ravel()[data])
    same(mil("constexpr_cast", source_val=np.float32([1.5])), [1.5])
