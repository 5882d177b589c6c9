"""Every precision beyond the default ones runs on a device, with the runner's plain floats in and out."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgekit.recipe import default_recipe_names, recipe_names

pytestmark = pytest.mark.convert
NAMED = [n for n in recipe_names() if n not in default_recipe_names() and not n.startswith("coreml")]


def edgekit(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", *map(str, words), "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_named_precisions_are_right_on_this_machine(tmp_path):
    from edgekit.convert.preprocess import noise
    from edgekit.source import load_source

    source = load_source("mobilenet_v2_0.35", resolution=32, classes=10)
    np.save(tmp_path / "data.npy", noise(source.inputs[0], source.preprocessing, 16, seed=1))
    named = [word for name in NAMED for word in ("-r", name)]
    code, _, said = edgekit(
        "convert", "mobilenet_v2_0.35@32", "--classes", 10, "--calibrate", "data.npy", *named, "-o", "b",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, said
    code, out, said = edgekit(
        "bench", "b", "--device", "local://", "--runs", 3, "--warmup", 1, "--store", "r.sqlite", cwd=tmp_path
    )
    assert code == 0, said
    runs = {run["artifact"]["recipe"]: run for run in json.loads(out)["runs"]}
    assert sorted(runs) == sorted(NAMED)
    for name, run in runs.items():
        assert run["parity"]["ok"], f"{name}: {run['parity']}"
        assert run["latency"]["count"] == 3
