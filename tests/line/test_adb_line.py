"""The whole line over the real adb and a real adbd: a Linux board runs it, a phone without Python says so."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgekit.runners.transport import open_transport
from edgekit.targets import Device

pytestmark = [pytest.mark.convert, pytest.mark.adb, pytest.mark.adbd]


def edgekit(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", *map(str, words), "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adb-line")
    np.save(folder / "data.npy", np.random.default_rng(1).uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32))
    code, _, said = edgekit(
        "convert", "mobilenet_v1_0.25@32", "--classes", 10, "-r", "tflite-int8", "-r", "onnx-fp32",
        "--calibrate", "data.npy", "-o", "bundle", cwd=folder,
    )  # fmt: skip
    assert code == 0, said
    return folder


def test_a_board_behind_adb_runs_it_all(folder, adb, adbd_linux):
    adb.run("connect", adbd_linux.serial)
    address = f"adb://{adbd_linux.serial}"
    code, document, said = edgekit(
        "bench", "bundle", "--device", address, "--runs", 70, "--store", "r.sqlite", cwd=folder
    )
    assert code == 0, said
    assert {run["artifact"]["recipe"] for run in document["runs"]} == {"tflite-int8", "onnx-fp32"}
    for run in document["runs"]:
        assert run["device"] == address
        assert run["parity"]["ok"]
        assert run["latency"]["count"] == 70
        p50, p95 = run["latency"]["p50_ms"], run["latency"]["p95_ms"]
        assert p50 is None or p95 is None or p95["high"] >= p50["value"] > 0
        assert run["memory"]["peak_over_baseline_bytes"] > 0
    code, _, said = edgekit("devices", "clean", address, cwd=folder)
    assert code == 0, said


def test_a_phone_without_python_is_told_so_and_nothing_is_pushed(folder, adb, adbd_phone):
    adb.run("connect", adbd_phone.serial)
    device = Device.parse(f"adb://{adbd_phone.serial}")
    with open_transport(device) as phone:
        before = listed(phone)
    code, document, said = edgekit(
        "bench", "bundle", "--device", device.address, "--store", "p.sqlite", cwd=folder
    )
    assert code == 1
    assert document["runs"] == []
    assert {recipe for failure in document["failed"] for recipe in failure["recipes"]} == {
        "tflite-int8",
        "onnx-fp32",
    }
    for failure in document["failed"]:
        assert failure["device"] == device.address
        assert "Python" in failure["error"]
    assert device.address in said
    with open_transport(device) as phone:
        assert before | {"facts", "lease"} >= listed(phone)


def listed(phone):
    """What lies in EdgeKit's folder there."""
    return set(phone.run(["ls", "-A", phone.root()]).text.split())
