"""Find images and their labels, and read them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from edgekit.convert.preprocess import fit, image_input
from edgekit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import TensorSpec
    from edgekit.bundle import Preprocessing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder and of the folders in it, sorted by path.

    Raises:
        UsageError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="check the path")
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
    if not found:
        raise UsageError(
            f"{folder} holds no images", hint=f"give a folder with files of {', '.join(sorted(SUFFIXES))}"
        )
    return found


def spread(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """Return at most `limit` of them, evenly spread, so that every class folder has its share."""
    if limit is None or limit >= len(paths):
        return list(paths)
    if limit < 1:
        raise UsageError(f"a limit of {limit} leaves no image", hint="give 1 or more")
    return [paths[index * len(paths) // limit] for index in range(limit)]


def read_images(
    paths: Sequence[Path], spec: TensorSpec, preprocessing: Preprocessing
) -> np.ndarray[Any, Any]:
    """Read images as inputs.

    Args:
        paths: the files.
        spec: of the input, 1 x H x W x C, or 1 x C x H x W where its layout is NCHW.
        preprocessing: how a pixel becomes a number.

    Returns:
        float32, N x the input's shape without its batch.

    Raises:
        UsageError: a file that Pillow can't read; it is named.
        MissingExtraError: Pillow is not installed.
    """
    import numpy as np

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("pillow", "convert") from error
    fitted = fit(preprocessing, spec)
    rows = np.empty((len(paths), *spec.shape[1:]), np.float32)
    for index, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                rows[index] = image_input(image, spec, fitted)
        except (
            UnidentifiedImageError,
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            raise UsageError(
                f"{path} can't be read as an image",
                hint="take it out of the folder or repair it",
                evidence=str(error),
            ) from error
    return rows


def read_labels(path: Path) -> list[str]:
    """Return the classes' names, one a line.

    Raises:
        UsageError: no such file, no text, or no line in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} can't be read as labels ({error})", hint="give a text file, a name a line"
        ) from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise UsageError(f"{path} holds no labels", hint="write one name a line")
    if not all(names):
        raise UsageError(
            f"{path} has no name on line {names.index('') + 1}", hint="write one name a line, none empty"
        )
    return names


def labelled(images: Path, labels: Path | None, names: Sequence[str]) -> list[tuple[Path, int]]:
    """Return images with the index of their class.

    Args:
        images: a folder; without `labels`, each folder in it is a class and its name the label.
        labels: a CSV with the columns "file" (relative to `images` or to the CSV) and "label".
        names: the bundle's labels, or none; a label is one of them, or an index.

    Raises:
        UsageError: an image without a label, a label that is neither a name nor an index, a missing file.
    """
    if labels is not None:
        pairs = _from_csv(images, labels)
    else:
        pairs = [(path, path.relative_to(images).parts[0]) for path in find_images(images)]
        if any(path.parent == images for path, _ in pairs):
            raise UsageError(
                f"{images} has images that are in no class folder",
                hint="put each in a folder named by its label, or give --labels with a CSV of file,label",
            )
    known = {name: index for index, name in enumerate(names)}
    if labels is None and not names and not all(label.isdecimal() for _, label in pairs):
        known = {label: index for index, label in enumerate(sorted({label for _, label in pairs}))}
    return [(path, _index(label, known)) for path, label in pairs]


def _from_csv(images: Path, labels: Path) -> list[tuple[Path, str]]:
    try:
        with labels.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{labels} can't be read ({error})", hint="give a CSV with the columns file,label"
        ) from None
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise UsageError(f"{labels} has no columns file,label", hint="begin it with the line file,label")
    pairs = []
    for row in rows:
        places = [images / row["file"], labels.parent / row["file"]]
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            raise UsageError(
                f"{labels} names {row['file']}, which is not there", hint="check the folder of images"
            )
        pairs.append((path, row["label"].strip()))
    return pairs


def _index(label: str, known: dict[str, int]) -> int:
    if label in known:
        return known[label]
    if label.isdecimal():
        return int(label)
    raise UsageError(
        f"the label {label!r} is none of the bundle's", hint="convert with --labels, or use indices"
    )
