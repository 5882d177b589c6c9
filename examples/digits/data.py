"""Real images that need no download: 1,797 scanned digits that come inside scikit-learn's wheel.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998 (the test set, 8 x 8 pixels, 16 grey levels), as `sklearn.datasets.load_digits`.

The split is fixed: of each class every fourth image is held back, the others train and calibrate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64
"""Pixels of an image's side after enlarging, which is the network's input."""
_HELD_BACK_EACH = 4


def load() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Return {"train": (images, labels), "held-back": (images, labels)}.

    Images are N x 64 x 64, grey, 0..255; labels are the digits themselves.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = (digits.images * (255 / 16)).round().astype(np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for scan in scans]
    )
    labels = digits.target.astype(np.int64)
    held_back = np.zeros(len(labels), bool)
    for digit in range(10):
        held_back[np.flatnonzero(labels == digit)[::_HELD_BACK_EACH]] = True
    return {
        "train": (images[~held_back], labels[~held_back]),
        "held-back": (images[held_back], labels[held_back]),
    }


def write_folders(root: Path, *, calibrate: int = 100) -> tuple[Path, Path]:
    """Write images as a user has them, one folder a class; return (calibration folder, held-back folder).

    Args:
        root: where the two folders go.
        calibrate: how many of the training images go into the calibration folder, the first of them.
    """
    from PIL import Image

    splits = load()
    folders = (root / "calibrate", root / "held-back")
    for folder, name, limit in ((folders[0], "train", calibrate), (folders[1], "held-back", None)):
        images, labels = splits[name]
        for index, (image, label) in enumerate(zip(images[:limit], labels[:limit], strict=True)):
            path = folder / str(label) / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (root / "labels.txt").write_text("\n".join(map(str, range(10))) + "\n", encoding="utf-8")
    return folders
