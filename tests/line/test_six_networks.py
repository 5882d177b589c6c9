"""The whole line on all six networks: every recipe, proved here, then right on an aarch64 userland."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert.verify import verify_bundle
from edgekit.recipe import default_recipe_names as recipe_names

pytestmark = [pytest.mark.convert, pytest.mark.board]
NETWORKS = (
    "mobilenet_v1_0.25@64",
    "mobilenet_v2_0.35@64",
    "shufflenet_v1_0.5x_g3@64",
    "shufflenet_v2_0.5x@64",
    "squeezenet_1.0@48",
    "squeezenet_1.1@48",
)
ON_LINUX = [name for name in recipe_names() if not name.startswith("coreml")]


def edgekit(*words, cwd):
    """Run a command with --json; return its exit code and its document."""
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", *map(str, words), "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    rng = np.random.default_rng(5)
    size = int(request.param.partition("@")[2])
    coarse = rng.uniform(0, 255, (32, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    pixels = np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255)
    from edgekit.convert.preprocess import apply
    from edgekit.zoo import describe

    np.save(folder / "data.npy", apply(pixels, describe(request.param).preprocessing).astype(np.float32))
    code, document, said = edgekit(
        "convert", request.param, "--classes", 10, "--calibrate", "data.npy", "-o", "bundle", cwd=folder
    )
    assert code == 0, said
    return folder, document


@pytest.mark.parametrize("bundle", NETWORKS, indirect=True)
def test_every_recipe_is_made_and_proved(bundle):
    folder, document = bundle
    kept = Bundle.load(folder / "bundle")
    kept.check()
    assert all(row.ok for row in verify_bundle(kept))
    made = {a["recipe"]: a for a in document["artifacts"]}
    assert tuple(made) == recipe_names()
    for name, artifact in made.items():
        assert {"recipe", "format", "precision", "path", "sha256", "size_bytes", "parity"} <= artifact.keys()
        if name in ON_LINUX:
            # int8 of seeded weights, with ten classes on sixteen inputs: noise decides the close calls.
            lossy = artifact["precision"] == "int8"
            assert artifact["parity"]["top1_agreement"] >= (0.5 if lossy else 0.9), name
            assert artifact["parity"]["snr_db"] > (8 if lossy else 25), name
    for format_ in ("tflite", "onnx"):
        # ShuffleNet v1's many small convolutions weigh more in nodes and scales than in weights.
        assert made[f"{format_}-int8"]["size_bytes"] < 0.8 * made[f"{format_}-fp32"]["size_bytes"]
        assert made[f"{format_}-fp32"]["parity"]["snr_db"] > 60
    core_ml = [made[f"coreml-{precision}"]["parity"]["snr_db"] for precision in ("fp32", "fp16")]
    assert core_ml[0] > 80
    assert core_ml[0] > core_ml[1] + 20, "what half floats lose must be seen"
    assert made["coreml-fp16"]["size_bytes"] < 0.7 * made["coreml-fp32"]["size_bytes"]


EVERY_DAY = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "squeezenet_1.0@48" else []) for name in NETWORKS
]
"""SqueezeNet 1.1 has the same operations and runs in half the time."""


@pytest.mark.parametrize("bundle", EVERY_DAY, indirect=True)
def test_every_artifact_is_right_on_an_aarch64_userland(bundle, board):
    folder, document = bundle
    code, result, said = edgekit(
        "bench",
        "bundle",
        "--device",
        board.address,
        "--runs",
        3,
        "--warmup",
        1,
        "--store",
        "r.sqlite",
        cwd=folder,
    )
    assert code == 0, said
    runs = {run["artifact"]["recipe"]: run for run in result["runs"]}
    assert sorted(runs) == sorted(ON_LINUX)
    assert {skip["recipe"] for skip in result["skipped"]} == set(recipe_names()) - set(ON_LINUX)
    shas = {a["recipe"]: a["sha256"] for a in document["artifacts"]}
    for name, run in runs.items():
        assert run["parity"]["ok"], f"{name}: {run['parity']}"
        assert run["artifact"]["sha256"] == shas[name]
        assert run["latency"]["count"] == 3
        assert run["latency"]["p95_ms"] is None, "three samples back no P95"
        assert run["latency"]["load_ms"] > 0
        assert run["memory"]["peak_over_baseline_bytes"] > 0
        assert "unavailable" in run["power"]
        codes = {doubt["code"] for doubt in run["doubts"]}
        assert {"emulated", "few-samples"} <= codes
        assert "fallback" not in codes, f"{name}: {run['doubts']}"
        assert run["verdict"] == "suspect"
