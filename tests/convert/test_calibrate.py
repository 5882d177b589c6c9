"""The user's images and arrays are read, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.artifact import TensorSpec
from edgekit.convert import preprocessing_preset, read_data
from edgekit.errors import UsageError

SPEC = TensorSpec(name="input", shape=(1, 32, 32, 3), dtype="float32", layout="NHWC")
GOOD = np.linspace(-1, 1, 4 * 32 * 32 * 3, dtype=np.float32).reshape(4, 32, 32, 3)


def test_a_folder_with_class_folders(pictures):
    data = read_data(pictures, SPEC, preprocessing_preset("signed"))
    assert data.count == 12
    assert data.inputs.dtype == np.float32
    assert data.inputs.min() >= -1
    assert data.inputs.max() <= 1
    assert data.sha256 == read_data(pictures, SPEC, preprocessing_preset("signed")).sha256
    assert data.sha256 != read_data(pictures, SPEC, preprocessing_preset("unit")).sha256


def test_a_limit_takes_its_share_of_every_folder(pictures):
    every = read_data(pictures, SPEC, preprocessing_preset("unit")).inputs
    few = read_data(pictures, SPEC, preprocessing_preset("unit"), limit=3).inputs
    assert np.array_equal(few, every[[0, 4, 8]])
    with pytest.raises(UsageError, match="leaves no image"):
        read_data(pictures, SPEC, preprocessing_preset("unit"), limit=0)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_taken_as_they_are(suffix, tmp_path):
    path = tmp_path / f"data{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, GOOD)
    assert np.array_equal(read_data(path, SPEC, None).inputs, GOOD)
    assert read_data(path, SPEC, None, limit=2).count == 2


def test_one_input_without_a_batch_and_doubles_are_fine(tmp_path):
    np.save(tmp_path / "one.npy", GOOD[0].astype(np.float64))
    data = read_data(tmp_path / "one.npy", SPEC, None)
    assert data.inputs.shape == (1, 32, 32, 3)
    assert data.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 3, 32, 32), np.float32), r"the input wants N x 32 x 32 x 3"),
        (np.zeros((0, 32, 32, 3), np.float32), "is empty"),
        (np.zeros((4, 32, 32, 3), np.uint8), "holds uint8, not floats"),
        (np.full((1, 32, 32, 3), np.nan, np.float32), "not finite"),
        (np.array([{"a": 1}], dtype=object), "Python objects"),
    ],
)
def test_arrays_that_do_not_fit(values, message, tmp_path):
    np.save(tmp_path / "bad.npy", values, allow_pickle=True)
    with pytest.raises(UsageError, match=message) as caught:
        read_data(tmp_path / "bad.npy", SPEC, None)
    assert "\n" not in str(caught.value)


def test_an_archive_of_several_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=GOOD, b=GOOD)
    with pytest.raises(UsageError, match=r"holds 2 arrays \(a, b\)"):
        read_data(tmp_path / "two.npz", SPEC, None)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_arrays_are_one_line(suffix, tmp_path):
    path = tmp_path / f"cut{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, GOOD)
    for share in (0.0, 0.1, 0.9):
        short = tmp_path / f"short{suffix}"
        short.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(UsageError, match=r"can't be read as an array|is no NumPy array") as caught:
            read_data(short, SPEC, None)
        assert "\n" not in str(caught.value)


def test_paths_that_hold_no_data(tmp_path):
    with pytest.raises(UsageError, match="there is no calibration data"):
        read_data(tmp_path / "gone", SPEC, None)
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(UsageError, match="is no calibration data"):
        read_data(tmp_path / "data.csv", SPEC, None)
    with pytest.raises(UsageError, match="holds no images"):
        read_data(tmp_path, SPEC, preprocessing_preset("unit"))


def test_an_image_that_is_none_is_named(pictures, tmp_path):
    whole = (pictures / "ant" / "0.png").read_bytes()
    for name, content in (
        ("text.jpg", b"no image"),
        ("cut.png", whole[: len(whole) // 2]),
        ("empty.png", b""),
    ):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(UsageError, match=f"{name} can't be read as an image"):
            read_data(folder, SPEC, preprocessing_preset("unit"))


def test_images_need_a_preprocessing_and_an_image_input(pictures):
    with pytest.raises(UsageError, match="nobody said how an image"):
        read_data(pictures, SPEC, None)
    flat = TensorSpec(name="input", shape=(1, 64), dtype="float32")
    with pytest.raises(UsageError, match="is no image"):
        read_data(pictures, flat, preprocessing_preset("unit"))
