"""Bundles small enough to be written in a millisecond; their artifacts are no real ones."""

import hashlib

import numpy as np
import pytest

from edgekit.artifact import Artifact, Parity, TensorSpec, digest
from edgekit.bundle import Bundle, Golden, SourceRecord

COUNT = 4


@pytest.fixture
def make_bundle(tmp_path):
    """Return a maker of bundles: recipes -> a bundle on the disk, with what is given put in."""

    def make(*recipes, name="bundle", inputs=None, outputs=None, content=None, parity=0.001):
        root = tmp_path / name
        (root / "artifacts").mkdir(parents=True)
        (root / "golden").mkdir()
        rng = np.random.default_rng(7)
        given = rng.random((COUNT, 8, 8, 3), dtype=np.float32) if inputs is None else inputs
        wanted = rng.random((len(given), 10), dtype=np.float32) if outputs is None else outputs
        np.save(root / "golden/inputs.npy", given)
        np.save(root / "golden/outputs.npy", wanted)
        artifacts = []
        for recipe in recipes or ("tflite-fp32", "onnx-int8", "coreml-fp32"):
            format_, precision = recipe.split("-")
            suffix = {"coreml": "mlpackage"}.get(format_, format_)
            path = root / f"artifacts/{recipe}.{suffix}"
            path.write_bytes((content or {}).get(recipe, f"the artifact {recipe}".encode()))
            shape = (1, 3, 8, 8) if format_ == "onnx" else (1, 8, 8, 3)
            artifacts.append(
                Artifact(
                    recipe=recipe,
                    format=format_,
                    precision=precision,
                    path=f"artifacts/{path.name}",
                    sha256=digest(path)[0],
                    size_bytes=path.stat().st_size,
                    inputs=(TensorSpec(name="in", shape=shape, dtype="float32"),),
                    outputs=(TensorSpec(name="out", shape=(1, 10), dtype="float32"),),
                    parity=None
                    if parity is None
                    else Parity(max_abs_error=parity, snr_db=60, top1_agreement=1),
                )
            )
        bundle = Bundle(
            root=root,
            source=SourceRecord(name="mobilenet_v2", kind="zoo", sha256="0" * 64, parameters=1),
            artifacts=tuple(artifacts),
            golden=Golden(
                inputs="golden/inputs.npy",
                outputs="golden/outputs.npy",
                inputs_sha256=hashlib.sha256((root / "golden/inputs.npy").read_bytes()).hexdigest(),
                outputs_sha256=hashlib.sha256((root / "golden/outputs.npy").read_bytes()).hexdigest(),
                count=len(given),
                origin="seeded noise",
            ),
        )
        bundle.save()
        return bundle

    return make
