"""One small bundle for all tests of the command line, made by the command line."""

import contextlib
import io
import json

import numpy as np
import pytest

from edgekit.cli import main as cli

RECIPES = ("tflite-fp32", "tflite-int8", "onnx-fp32", "coreml-fp16")


@pytest.fixture(scope="session")
def call():
    """Run a command in this process; return its exit code, its output and its messages."""

    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(word) for word in words])
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="session")
def made(call, tmp_path_factory):
    """Return the folder of a bundle, and the document that `convert --json` printed."""
    folder = tmp_path_factory.mktemp("cli")
    np.save(folder / "data.npy", np.random.default_rng(0).uniform(-1, 1, (24, 32, 32, 3)).astype(np.float32))
    (folder / "labels.txt").write_text("\n".join(f"class {n}" for n in range(10)))
    recipes = [word for name in RECIPES for word in ("-r", name)]
    code, out, err = call(
        "convert", "mobilenet_v1_0.25@32", "--classes", 10, *recipes, "--calibrate", folder / "data.npy",
        "--labels", folder / "labels.txt", "-o", folder / "bundle", "--json",
    )  # fmt: skip
    assert code == 0, err
    return folder / "bundle", json.loads(out)
