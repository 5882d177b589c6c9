"""What the zoo's tests share: inputs, PyTorch, the data folder."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import zoo
from edgekit.zoo.random_weights import prepared, synthetic_images

DATA = "EDGEKIT_TEST_DATA"


@pytest.fixture(scope="session")
def inputs_for():
    """Seeded images, preprocessed as a network wants them: (name, resolution, count=, channels=)."""

    def make(name, resolution, *, count=4, channels=3, seed=11):
        images = synthetic_images(count, resolution, channels, seed)
        return prepared(images, zoo.describe(name).preprocessing).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="session")
def network_file():
    """Return the path of a trained network by its file name, or skip."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get(DATA, default)) / "networks"

    def find(name):
        if not (folder / name).is_file():
            pytest.skip(f"{name} is not in {folder} (set {DATA})")
        return folder / name

    return find


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of weights of this test's own; no mirror is set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEKIT_WEIGHTS_MIRROR", raising=False)
    return tmp_path / "cache" / "edgekit" / "weights"


@pytest.fixture(scope="session")
def fresh_python():
    """Run a script in a Python of its own and return what it prints."""
    import subprocess

    def run(script):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run
