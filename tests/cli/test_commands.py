"""The commands end to end in this process: what they print, what they write, what they refuse."""

import json
import shutil

import numpy as np
import pytest

from edgekit.bundle import Bundle

pytestmark = pytest.mark.convert
RECIPES = ("tflite-fp32", "tflite-int8", "onnx-fp32", "coreml-fp16")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))


@pytest.fixture
def copy(made, tmp_path):
    """A bundle that a test may spoil."""
    return shutil.copytree(made[0], tmp_path / "bundle")


def test_convert_prints_the_contract(made):
    root, document = made
    assert document["schema"] == 1
    assert document["bundle"] == str(root)
    assert [a["recipe"] for a in document["artifacts"]] == list(RECIPES)
    for artifact in document["artifacts"]:
        assert {"recipe", "format", "precision", "path", "sha256", "size_bytes", "parity"} <= artifact.keys()
        assert artifact["parity"].keys() == {"max_abs_error", "snr_db", "top1_agreement"}
    bundle = Bundle.load(root)
    bundle.check()
    assert bundle.label_names()[3] == "class 3"
    assert {"int8", "float32"} == {t.dtype for a in bundle.artifacts for t in a.inputs}


def test_verify_holds_files_and_outputs(call, made, copy):
    code, out, _ = call("verify", made[0], "--json")
    rows = {row["recipe"]: row for row in json.loads(out)["artifacts"]}
    assert code == 0
    assert rows.keys() == set(RECIPES)
    (copy / "artifacts" / "onnx-fp32.onnx").write_bytes(b"something else")
    code, out, _ = call("verify", copy, "--json")
    rows = {row["recipe"]: row for row in json.loads(out)["artifacts"]}
    assert code == 1
    assert not rows["onnx-fp32"]["ok"]
    assert rows["tflite-fp32"]["ok"]


def test_bench_prints_the_contract_stores_and_reports(call, made, tmp_path):
    root, converted = made
    code, out, err = call("bench", root, "--device", "local://", "--runs", 80, "--json")
    document = json.loads(out)
    assert code == 0, err
    assert document["schema"] == 1
    shas = {a["recipe"]: a["sha256"] for a in converted["artifacts"]}
    for run in document["runs"]:
        assert {
            "id",
            "device",
            "artifact",
            "runtime",
            "verdict",
            "doubts",
            "latency",
            "memory",
            "power",
            "parity",
        } <= run.keys()
        assert run["device"] == "local://"
        assert run["artifact"]["sha256"] == shas[run["artifact"]["recipe"]]
        assert {"recipe", "format", "precision", "sha256"} <= run["artifact"].keys()
        assert {"name", "version"} <= run["runtime"].keys()
        latency = run["latency"]
        assert latency["count"] == 80
        for name in ("p50_ms", "p95_ms"):
            found = latency[name]
            # A busy machine's samples can be too alike to back a percentile: then it says so.
            assert (found is None) == (f"{name[:3].upper()} needs" in latency["withheld"])
            assert found is None or found["low"] <= found["value"] <= found["high"]
        assert {"load_ms", "first_ms"} <= latency.keys()
        memory = run["memory"]
        assert memory["peak_pss_bytes"] - memory["baseline_bytes"] == memory["peak_over_baseline_bytes"]
        assert run["power"]["unavailable"]
        assert run["parity"]["ok"]
        for doubt in run["doubts"]:
            assert {"code", "value", "limit", "hint"} <= doubt.keys()
    assert {r["artifact"]["recipe"] for r in document["runs"]} == {"tflite-fp32", "tflite-int8", "onnx-fp32"}
    assert [s["recipe"] for s in document["skipped"]] == ["coreml-fp16"]
    assert "Core ML" in document["skipped"][0]["reason"]

    code, out, _ = call("runs", "list", "recipe=tflite-int8", "--json")
    (stored,) = json.loads(out)["runs"]
    code, out, _ = call("runs", "show", stored["id"], "--json")
    assert len(json.loads(out)["run"]["samples_ns"]) == 80
    code, out, _ = call("runs", "export", "last=2")
    assert [json.loads(line)["schema"] for line in out.splitlines()] == [2, 2]
    for words in (("runs", "list"), ("runs", "show", stored["id"][:12])):
        code, out, _ = call(*words)
        assert code == 0
        assert "tflite-int8" in out

    code, _, err = call("report", "last=3", "-o", tmp_path / "report.html")
    assert code == 0, err
    assert "tflite-int8" in (tmp_path / "report.html").read_text()


def test_bench_prints_a_table_for_people(call, made):
    code, out, err = call(
        "bench", made[0] / "artifacts" / "onnx-fp32.onnx", "--device", "local://", "--runs", 10
    )
    assert code == 0, err
    for word in ("onnx-fp32", "onnxruntime", "P50", "withheld", "more", "not measurable here", "suspect"):
        assert word in out
    assert "stored in" in err


def test_devices_probe_tells_what_can_run_and_pushes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, _ = call("devices", "probe", "local://", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["facts"]["machine"]
    assert set(document["runtimes"]) == {"litert", "onnxruntime", "coreml"}
    assert not (tmp_path / "cache").exists()
    code, out, _ = call("devices", "probe", "local://")
    assert "runtime: litert" in out


def test_devices_clean_removes_all(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "edgekit" / "device" / "store").mkdir(parents=True)
    code, _, _ = call("devices", "clean", "local://")
    assert code == 0
    assert not (tmp_path / "cache" / "edgekit" / "device").exists()


@pytest.mark.parametrize("name", ["artifacts/tflite-fp32.tflite", "golden/inputs.npy", "bundle.json"])
@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_damaged_bundle_reaches_no_device(call, copy, name, damage):
    path = copy / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    code, out, err = call("bench", copy, "--device", "ssh://127.0.0.1:1")
    assert code == 2
    assert not out
    assert "bundle" in err
    assert "127.0.0.1" not in err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda p: np.save(p, np.zeros((3, 16, 16, 3), np.float32)), "32"),
        (lambda p: np.save(p, np.full((3, 32, 32, 3), np.nan, np.float32)), "not finite"),
        (lambda p: p.write_bytes(b"no array"), "no NumPy array"),
        (lambda p: p.mkdir(), "image"),
        (lambda p: None, "data.npy"),
    ],
    ids=["another shape", "not a number", "no array", "an empty folder", "nothing"],
)
def test_calibration_data_that_will_not_do_is_refused_before_anything_is_written(call, tmp_path, data, said):
    path = tmp_path / "data.npy"
    data(path)
    code, _, err = call(
        "convert", "mobilenet_v1_0.25@32", "--classes", 10, "-r", "onnx-int8", "--calibrate", path,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert said in err
    assert err.strip().count("\n") == 0 or err.startswith("  ")
    assert not (tmp_path / "out").exists()


def test_a_corrupt_source_is_one_line(call, tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 not a network")
    code, out, err = call("convert", tmp_path / "broken.keras", "-r", "onnx-fp32", "-o", tmp_path / "out")
    assert code == 2
    assert not out
    assert "broken.keras" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_recipes_for_a_target_leave_out_what_it_does_not_take(call, tmp_path):
    code, out, err = call(
        "convert", "mobilenet_v1_0.25@32", "--classes", 10, "--for", "beaglebone-black", "-o", tmp_path / "b"
    )
    assert code == 0, err
    assert "tflite-fp32" in out
    assert "onnx" not in out
    assert "int8" in err
    assert "--calibrate" in err
