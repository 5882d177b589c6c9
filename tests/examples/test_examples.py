"""Each example runs; one that no test here runs fails the suite."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CHECKPOINT = EXAMPLES / "digits" / "digits_mobilenet_v1_0.25.keras"
CANDIDATES = ("tflite-int8", "onnx-int8", "tflite-fp16", "tflite-fp32", "onnx-fp32")
RUN_HERE = {
    "demo.py", "ship_or_not.py", "profile_fleet.py", "why_int8.py", "digits/data.py", "digits/train.py",
}  # fmt: skip

pytestmark = pytest.mark.convert


def run(script, *words, cwd, **env):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **env},
    )  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, run once without the board (the README's test benches on it)."""
    cwd = tmp_path_factory.mktemp("demo")
    done = run("demo.py", "-o", "out", "--runs", 60, "--no-board", cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return cwd / "out", done.stdout


def test_every_example_is_run_by_a_test():
    found = {p.relative_to(EXAMPLES).as_posix() for p in EXAMPLES.rglob("*.py")}
    assert found == RUN_HERE


def test_the_demo_ends_with_the_table_and_the_reports_path(demo):
    folder, printed = demo
    assert str(folder / "report.html") in printed.splitlines()[-1]
    assert (folder / "report.html").stat().st_size > 100_000
    for recipe in ("tflite-int8", "onnx-int8", "tflite-fp32", "onnx-fp16"):
        assert recipe in printed
    for word in ("P50", "P95", "not measurable here", "no aarch64 userland: left out as asked"):
        assert word in printed


def test_the_shipped_checkpoint_is_right_on_images_it_never_saw(demo):
    import json

    folder, _ = demo
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "verify", "bundle", "--images", "held-back", "--json"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = {row["recipe"]: row for row in json.loads(done.stdout)["artifacts"]}
    assert len(rows) == 9
    for recipe, row in rows.items():
        assert row["accuracy"]["count"] == 454
        assert row["accuracy"]["top1"] >= 0.97, recipe


def test_ship_or_not_ships_the_smallest_that_will_do(demo, tmp_path):
    folder, _ = demo
    words = (CHECKPOINT, "--preprocess", "signed", "--calibrate", folder / "calibrate", "--device", "local://",
             "--store", "runs.sqlite", "--runs", 2000, "-o", "shipped")  # fmt: skip
    done = run("ship_or_not.py", *words, "--p95-ms", 1000, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    *refused, taken, shipped = done.stdout.splitlines()
    assert (tmp_path / shipped).is_file()
    assert "P95 at most" in taken
    # The smallest that will do is the first whose P95 a machine that may be busy could back.
    assert [line.partition(":")[0] for line in [*refused, taken]] == list(CANDIDATES[: len(refused) + 1])
    assert all("P95 withheld" in line for line in refused)
    done = run("ship_or_not.py", *words, "--p95-ms", 0.000001, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count(": P95 ") == 5


def test_profile_fleet_prints_a_row_a_run_and_goes_on_when_a_device_is_gone(demo, tmp_path):
    folder, _ = demo
    nobody = "ssh://127.0.0.1:1"
    words = (folder / "bundle", nobody, "local://", "--runs", 60, "--store", "fleet.sqlite")
    done = run("profile_fleet.py", *words, cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 1
    assert nobody in done.stderr
    assert {row["device"] for row in rows} == {"local://"}
    assert {row["recipe"] for row in rows} >= {"tflite-int8", "onnx-fp32"}
    told = [row for row in rows if row["p50_ms"]]
    assert all(float(row["p50_low_ms"]) <= float(row["p50_ms"]) <= float(row["p50_high_ms"]) for row in told)


def test_why_int8_answers_for_each_pair_of_a_store(tmp_path):
    import json

    from edgekit.bench.run import Run
    from edgekit.store import Store

    with Store.open(str(tmp_path / "runs.sqlite")) as store:
        for name in ("moving", "a72"):
            recorded = ROOT / "tests" / "bench" / "explained" / f"{name}.json"
            for data in json.loads(recorded.read_text()):
                store.save(Run.from_json(data))
    done = run("why_int8.py", "runs.sqlite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert [line.partition(": ")[0] for line in lines] == [
        "local:// moving-int8.tflite", "ssh://board plain-int8.tflite",
    ]  # fmt: skip
    assert "moves memory more than it multiplies" in lines[0]
    assert "has no int8 dot product" in lines[1]


def test_the_checkpoint_can_be_trained_again(tmp_path):
    done = run("digits/train.py", "--epochs", 1, "-o", tmp_path / "again.keras", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "again.keras").stat().st_size > 500_000
