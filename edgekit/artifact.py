"""An artifact: one produced file or package, its identity, its I/O spec and where it came from."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from edgekit.errors import UnknownNameError, UsageError
from edgekit.json_types import fits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LAYOUTS = ("NHWC", "NCHW", "NC", "any")
DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the tensor's name inside the artifact.
        shape: its dimensions, all of them positive (a batch of 1 is written out).
        dtype: one of DTYPES.
        layout: one of LAYOUTS; "any" when it is no image.
        scale: of a quantized tensor, else None: real = scale * (stored - zero_point).
        zero_point: of a quantized tensor, else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = "any"
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        if self.layout not in LAYOUTS:
            raise UnknownNameError("layout", self.layout, LAYOUTS)
        if any(n < 1 for n in self.shape):
            raise UsageError(f"tensor {self.name!r} has the shape {self.shape}", hint="give every dimension")
        if (self.scale is None) != (self.zero_point is None):
            raise UsageError(f"tensor {self.name!r} has a scale or a zero point without the other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far an artifact's outputs are from its source's, on the golden inputs, all outputs together.

    Attributes:
        max_abs_error: the largest absolute difference.
        snr_db: 10 log10(signal power / error power), 200 at most, which also stands for no difference.
        top1_agreement: the share of golden inputs whose largest output is the same one, 0 to 1.
    """

    max_abs_error: float
    snr_db: float
    top1_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One produced file or package.

    Attributes:
        recipe: the recipe's name.
        format: "tflite", "onnx" or "coreml".
        precision: as in the recipe.
        path: where it lies, relative to its bundle.
        sha256: of the file, or of the package by `digest`.
        size_bytes: of the file, or of the package's files together.
        inputs: its inputs, in order.
        outputs: its outputs, in order.
        parity: how it compared with its source on the host; None where the host can't run it.
        provenance: what made it: versions of the libraries, options.
    """

    recipe: str
    format: str
    precision: str
    path: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the artifact as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: a key is unknown or missing.
        """
        values = checked(cls, data, "artifact")
        values["inputs"] = tuple(TensorSpec(**checked(TensorSpec, t, "tensor")) for t in data["inputs"])
        values["outputs"] = tuple(TensorSpec(**checked(TensorSpec, t, "tensor")) for t in data["outputs"])
        parity = data.get("parity")
        values["parity"] = None if parity is None else Parity(**checked(Parity, parity, "parity"))
        return cls(**values)


def checked(kind: type[Any], data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return `data` as keyword arguments of the dataclass `kind`.

    Args:
        kind: a dataclass.
        data: what was read from a file.
        what: the table's name, for the message.

    Raises:
        UnknownNameError: a key that the dataclass does not have; the nearest is offered.
        UsageError: a field without a default is missing, a value is not of its type or no finite number, or
            `data` is no table. What a field's own dataclass holds is not looked at.
    """
    if not isinstance(data, dict):
        raise UsageError(f"{what} should be a table, found {type(data).__name__}")
    known = {f.name: f for f in fields(kind)}
    for key in data:
        if key not in known:
            raise UnknownNameError(f"key in {what}", key, known)
    for name, spec in known.items():
        if name not in data and _required(spec):
            raise UsageError(f"{what} lacks the key {name!r}")
        if name in data and not fits(str(spec.type), data[name]):
            raise UsageError(f"{name!r} in {what} is no {spec.type}: {repr(data[name])[:60]}")
    return dict(data)


def digest(path: Path) -> tuple[str, int]:
    """Return the sha256 and the size in bytes of a file or of a folder.

    A folder's sha256 is that of the lines "<sha256>  <relative path>" of its files in sorted order.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        parts = [(digest(p), p.relative_to(path).as_posix()) for p in files]
        listing = "".join(f"{sha}  {name}\n" for (sha, _), name in parts)
        return hashlib.sha256(listing.encode()).hexdigest(), sum(size for (_, size), _ in parts)
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest(), path.stat().st_size


def _required(spec: Any) -> bool:
    from dataclasses import MISSING

    return spec.default is MISSING and spec.default_factory is MISSING
