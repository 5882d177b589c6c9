"""Read the values of an ML program: types, constants in the program, and weights in its blob file.

Layout of the blob file, after the MIL blob format of Apple's open coremltools: 64 bytes of header, then for
each weight 64 bytes of metadata at the offset that the program names (uint32 sentinel, uint32 data type,
uint64 size in bytes, uint64 where the data begins, uint64 bits of padding), all little-endian. Elements of
fewer than 8 bits are packed, the least significant bits first.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, Any]

# MIL's data types by their number in a program: numpy's type, and the bits of an element when fewer than 8.
_TYPES: dict[int, tuple[str, int]] = {
    1: ("bool", 0),
    2: ("str", 0),
    10: ("float16", 0),
    11: ("float32", 0),
    12: ("float64", 0),
    21: ("int8", 0),
    22: ("int16", 0),
    23: ("int32", 0),
    24: ("int64", 0),
    25: ("int8", 4),
    31: ("uint8", 0),
    32: ("uint16", 0),
    33: ("uint32", 0),
    34: ("uint64", 0),
    35: ("uint8", 4),
    36: ("uint8", 2),
    37: ("uint8", 1),
    38: ("uint8", 6),
    39: ("uint8", 3),
}
# The same types by their number in a blob file.
_IN_BLOB = {
    1: 10, 2: 11, 3: 31, 4: 21, 6: 22, 7: 32, 8: 25, 9: 37, 10: 36, 11: 35, 12: 39, 13: 38, 14: 23, 15: 33,
}  # fmt: skip
_SENTINEL = 0xDEADBEEF
_BLOCK = 1 << 15
"""Elements that are rounded at a time, which the processor's cache holds."""
_HALF_END, _HALF_TINY = 65504.0, 2.0**-14
"""The largest half float, and the smallest that has all its bits."""
_ENTRY = struct.Struct("<IIQQQ")


class Blobs:
    """The blob files of one package, each read once.

    Args:
        root: the package's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, bytes] = {}

    def read(self, value: Any, kind: int, shape: tuple[int, ...]) -> Array:
        """Return the weight that a BlobFileValue points to.

        Args:
            value: the BlobFileValue.
            kind: the data type that the program declares, by its number.
            shape: the shape that the program declares.

        Raises:
            ConversionError: the file is missing or shorter, or does not hold what the program says.
        """
        name = str(value.fileName).rpartition("/")[2]
        blob, offset = self._file(name), int(value.offset)
        if offset + _ENTRY.size > len(blob):
            raise ConversionError(
                f"the Core ML package's weight file {name} is shorter than its program says", hint=_AGAIN
            )
        sentinel, stored, size, begin, _ = _ENTRY.unpack_from(blob, offset)
        if sentinel != _SENTINEL or _IN_BLOB.get(stored) != kind or begin + size > len(blob):
            raise ConversionError(
                f"the Core ML package's weight file {name} does not hold what its program points to",
                hint=_AGAIN,
            )
        return from_bytes(blob[begin : begin + size], kind, shape)

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            path = next(self._root.rglob(name), None) if name else None
            if path is None:
                raise ConversionError(f"the Core ML package lacks its weight file {name!r}", hint=_AGAIN)
            self._files[name] = path.read_bytes()
        return self._files[name]


_AGAIN = "convert again"


def from_bytes(raw: bytes, kind: int, shape: tuple[int, ...]) -> Array:
    """Return elements stored as bytes: plain, or packed when they have fewer than 8 bits.

    Raises:
        ConversionError: there are fewer elements than the shape needs.
    """
    name, bits = _TYPES[kind]
    count = int(np.prod(shape, dtype=np.int64))
    needed = -(-count * bits // 8) if bits else count * np.dtype(name).itemsize
    if len(raw) < needed:
        raise ConversionError(
            f"a Core ML constant of the shape {shape} has {len(raw)} bytes, {needed} are needed", hint=_AGAIN
        )
    if not bits:
        return np.frombuffer(raw, name, count=count).reshape(shape)
    return unpack(np.frombuffer(raw, np.uint8, count=needed), bits, count, signed=name == "int8").reshape(
        shape
    )


def unpack(packed: Array, bits: int, count: int, *, signed: bool = False) -> Array:
    """Return elements of a few bits each, packed into bytes with the least significant bits first.

    Args:
        packed: uint8, flat.
        bits: of an element, 1 to 8.
        count: how many elements.
        signed: whether they are in two's complement.

    Returns:
        uint8 or int8, flat.
    """
    stream = np.unpackbits(packed, bitorder="little", count=count * bits).reshape(count, bits)
    values = stream.astype(np.uint8) @ (1 << np.arange(bits, dtype=np.uint8)).astype(np.uint8)
    if not signed:
        return np.asarray(values, np.uint8)
    return (values.astype(np.int16) - ((values >> (bits - 1)).astype(np.int16) << bits)).astype(np.int8)


def type_of(value_type: Any) -> tuple[str, tuple[int, ...] | None]:
    """Return a ValueType's numpy type and shape; no shape when a dimension is not known.

    Raises:
        ConversionError: it is no tensor, or of a type that is not evaluated here.
    """
    tensor = value_type.tensorType
    if value_type.WhichOneof("type") != "tensorType" or tensor.dataType not in _TYPES:
        raise ConversionError("the Core ML program has a value that is no tensor of numbers")
    if any(d.WhichOneof("dimension") != "constant" for d in tensor.dimensions):
        return _TYPES[tensor.dataType][0], None
    return _TYPES[tensor.dataType][0], tuple(int(d.constant.size) for d in tensor.dimensions)


def constant(value: Any, blobs: Blobs) -> Array | str:
    """Return a Value: text as str, half floats widened to float32 (which holds each), the rest as it is.

    Raises:
        ConversionError: it can't be read.
    """
    name, shape = type_of(value.type)
    if shape is None:
        raise ConversionError("a Core ML constant has no fixed shape")
    kind = int(value.type.tensorType.dataType)
    if value.WhichOneof("value") == "blobFileValue":
        return widen(blobs.read(value.blobFileValue, kind, shape))
    tensor = value.immediateValue.tensor
    field = tensor.WhichOneof("value")
    if field is None:
        return np.zeros(shape, np.float32 if name == "float16" else name)
    values = getattr(tensor, field).values
    if field == "bytes":
        return widen(from_bytes(values, kind, shape))
    if field == "strings":
        return str(values[0]) if not shape else np.array(list(values)).reshape(shape)
    return widen(_filled(np.array(values, dtype=name), shape))


def widen(array: Array) -> Array:
    """Return half floats as float32, anything else as it is."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def settle(array: Any, name: str) -> Array:
    """Return a value as a tensor of this type holds it; half floats are rounded, and kept as float32.

    What is beyond the range of a half float becomes infinite, as on the device.
    """
    array = np.asarray(array)
    if name != "float16":
        return np.asarray(array, name)
    if array.dtype != np.float32 or array.size < _BLOCK:
        return _half(array)
    flat = np.ascontiguousarray(array).reshape(-1)
    found = np.empty_like(flat)
    for begin in range(0, flat.size, _BLOCK):
        found[begin : begin + _BLOCK] = _rounded(flat[begin : begin + _BLOCK])
    return found.reshape(array.shape)


def _half(array: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array.astype(np.float16), np.float32)


def _rounded(x: Array) -> Array:
    """Return float32 as half floats hold it: four times as fast as two conversions.

    Half floats have 13 bits less behind the leading one: adding half of the last one that stays carries into
    it. What is too large or too small for that rule is converted.
    """
    size = np.abs(x)
    if not float(size.max()) < _HALF_END:  # a value that is not finite too
        return _half(x)
    bits = x.view(np.uint32)
    found = bits >> 13
    found &= 1
    found += 0xFFF
    found += bits
    found &= np.uint32(0xFFFFE000)
    rounded = found.view(np.float32)
    small = np.flatnonzero(size < _HALF_TINY)
    if small.size:
        rounded[small] = _half(x[small])
    return rounded


def _filled(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array in its shape; one value stands for all."""
    if array.size == 1:
        return np.full(shape, array.reshape(-1)[0])
    if array.size != int(np.prod(shape, dtype=np.int64)):
        raise ConversionError(
            f"a Core ML constant has {array.size} values for the shape {shape}", hint=_AGAIN
        )
    return array.reshape(shape)
