"""Read calibration data: the user's own images or arrays, one reading for every format."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.images import find_images, read_images, spread
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import TensorSpec
    from edgekit.bundle import Preprocessing

_ARRAYS = (".npy", ".npz")
_MAGIC = (b"\x93NUMPY", b"PK")
"""How .npy and .npz files begin; NumPy takes anything else for a pickle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """Representative inputs.

    Attributes:
        inputs: float32, N x the input's shape without its batch.
        sha256: of the inputs' values.
        origin: the file or folder that they came from.
    """

    inputs: np.ndarray[Any, Any]
    sha256: str
    origin: str

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return len(self.inputs)


def read_data(
    path: Path, input_spec: TensorSpec, preprocessing: Preprocessing | None, limit: int | None = None
) -> CalibrationData:
    """Read calibration data.

    Args:
        path: a folder of images (class folders inside are fine), a .npy file, or a .npz file with one array.
            Arrays are taken as they are: already preprocessed, N x the input's shape without its batch;
            float32, or uint8 where the input takes pixels.
        input_spec: of the source's input.
        preprocessing: how an image becomes an input; needed for images.
        limit: at most so many, evenly spread.

    Raises:
        UsageError: no such path, nothing in it, an image or array that can't be read or does not fit.
    """
    if path.is_dir():
        inputs = _images(path, input_spec, preprocessing, limit)
    elif path.is_file() and path.suffix.lower() in _ARRAYS:
        pixels = preprocessing is not None and preprocessing.identity
        inputs = _checked(path, _array(path), input_spec, pixels=pixels)
        if limit is not None and limit < len(inputs):
            inputs = inputs[[index * len(inputs) // limit for index in range(limit)]]
    elif path.exists():
        raise UsageError(
            f"{path} is no calibration data", hint="give a folder of images, a .npy or a .npz file"
        )
    else:
        raise UsageError(f"there is no calibration data at {path}", hint="check the path")
    return from_array(inputs, origin=path.name)


def from_array(inputs: np.ndarray[Any, Any], *, origin: str = "array") -> CalibrationData:
    """Return inputs that are in memory as calibration data."""
    import numpy as np

    held = np.ascontiguousarray(inputs, np.float32)
    sha = hashlib.sha256(str(held.shape).encode() + held.tobytes()).hexdigest()
    return CalibrationData(inputs=held, sha256=sha, origin=origin)


def _images(
    path: Path, spec: TensorSpec, preprocessing: Preprocessing | None, limit: int | None
) -> np.ndarray[Any, Any]:
    if preprocessing is None:
        raise UsageError(
            "nobody said how an image becomes an input",
            hint="name it: --preprocess signed, unit, imagenet or none",
        )
    return read_images(spread(find_images(path), limit), spec, preprocessing)


def _array(path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        with path.open("rb") as file:
            if not file.read(len(_MAGIC[0])).startswith(_MAGIC):
                raise UsageError(f"{path} is no NumPy array", hint="save the inputs with np.save(...)")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            if len(loaded.files) != 1:
                raise UsageError(
                    f"{path} holds {len(loaded.files)} arrays ({', '.join(loaded.files[:5])})",
                    hint="save the inputs alone: np.save(...)",
                )
            held: np.ndarray[Any, Any] = loaded[loaded.files[0]]
            return held
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        if "pickle" in str(error):
            raise UsageError(
                f"{path} holds Python objects, which are not loaded", hint="save float32"
            ) from error
        raise UsageError(
            f"{path} can't be read as an array", hint="save it again with np.save", evidence=str(error)
        ) from error


def _checked(
    path: Path, values: np.ndarray[Any, Any], spec: TensorSpec, *, pixels: bool
) -> np.ndarray[Any, Any]:
    import numpy as np

    wanted = spec.shape[1:]
    text = " x ".join(str(n) for n in wanted)
    if values.shape == wanted:
        values = values[None]
    if values.shape[1:] != wanted:
        raise UsageError(f"{path} has the shape {values.shape}", hint=f"the input wants N x {text}")
    if not len(values):
        raise UsageError(f"{path} is empty", hint=f"give N x {text}, N of 1 or more")
    if values.dtype.kind != "f" and not (pixels and values.dtype == np.uint8):
        raise UsageError(
            f"{path} holds {values.dtype}, not floats",
            hint="save the inputs as the network takes them, preprocessed, in float32",
        )
    if not np.isfinite(values).all():
        raise UsageError(f"{path} holds values that are not finite", hint="take them out")
    return values.astype(np.float32)
