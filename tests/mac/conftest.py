"""A Mac that is none: a Mac's commands on the PATH, a Python that believes it, and coremltools' double."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.artifact import Artifact, TensorSpec, digest
from edgekit.bundle import Bundle, Golden, SourceRecord
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

HERE = Path(__file__).parent / "standin"


@pytest.fixture
def mac(tmp_path, monkeypatch):
    """This machine, made up as a Mac; the path of the file in which coremltools' double notes its calls."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{HERE / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("STANDIN_MAC", "1")
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "calls.jsonl"))
    return tmp_path / "calls.jsonl"


@pytest.fixture
def transport(mac):
    with open_transport(Device.parse("local://")) as opened:
        yield opened


@pytest.fixture
def bundle(tmp_path):
    """A bundle with one package, as coremltools' double reads it, and what it should say."""
    root, rng = tmp_path / "bundle", np.random.default_rng(3)
    package = root / "artifacts/coreml-fp32.mlpackage"
    (package / "Data").mkdir(parents=True)
    (root / "golden").mkdir()
    (package / "Manifest.json").write_text("{}")
    (package / "Data/beside").write_bytes(b"something deeper")
    weights = rng.normal(size=(3, 5)).astype("float32")
    inputs = rng.normal(size=(4, 8, 8, 3)).astype("float32")
    np.save(package / "weights.npy", weights)
    np.save(root / "golden/inputs.npy", inputs)
    np.save(root / "golden/outputs.npy", inputs.mean(axis=(1, 2)) @ weights)
    sha256, size = digest(package)
    artifact = Artifact(
        recipe="coreml-fp32",
        format="coreml",
        precision="fp32",
        path=f"artifacts/{package.name}",
        sha256=sha256,
        size_bytes=size,
        inputs=(TensorSpec(name="input", shape=(1, 8, 8, 3), dtype="float32"),),
        outputs=(TensorSpec(name="output", shape=(1, 5), dtype="float32"),),
        parity=None,
    )
    golden = Golden(
        inputs="golden/inputs.npy",
        outputs="golden/outputs.npy",
        inputs_sha256=digest(root / "golden/inputs.npy")[0],
        outputs_sha256=digest(root / "golden/outputs.npy")[0],
        count=4,
        origin="seeded noise",
    )
    source = SourceRecord(name="tiny", kind="zoo", sha256="0" * 64, parameters=15)
    made = Bundle(root=root, source=source, artifacts=(artifact,), golden=golden)
    made.save()
    return replace(made)
