"""Tiny artifacts, the on-device program as a process of its own, and transports with folders of their own."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit.runners.facts import read_facts
from edgekit.runners.lines import parse_line
from edgekit.runners.program import native_program, python_program
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

GOLDEN = 6


@pytest.fixture(scope="session")
def golden(tmp_path_factory):
    """Golden inputs for an input of 1 x 8 x 8 x 3, as a path."""
    path = tmp_path_factory.mktemp("golden") / "inputs.npy"
    np.save(path, np.random.default_rng(7).normal(size=(GOLDEN, 8, 8, 3)).astype("float32"))
    return path


MAKE_TFLITE = """
import sys
import numpy as np, tensorflow as tf
golden, folder = sys.argv[1:]
inputs = np.load(golden)
tf.keras.utils.set_random_seed(3)
network = tf.keras.Sequential(
    [tf.keras.Input((8, 8, 3), batch_size=1), tf.keras.layers.Conv2D(4, 3, activation="relu"),
     tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(5)]
)
converter = tf.lite.TFLiteConverter.from_keras_model(network)
open(folder + "/float.tflite", "wb").write(converter.convert())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([sample[None]] for sample in inputs)
converter.inference_input_type = converter.inference_output_type = tf.int8
open(folder + "/int8.tflite", "wb").write(converter.convert())
np.save(folder + "/outputs.npy", np.concatenate([network(x[None]).numpy() for x in inputs]))
"""


@pytest.fixture(scope="session")
def tflite(tmp_path_factory, golden):
    """One tiny network as float32 and as int8 with int8 input and output, and what it should say."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs the convert extra: tensorflow")
    folder = tmp_path_factory.mktemp("tflite")
    argv = [sys.executable, "-c", MAKE_TFLITE, str(golden), str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def onnx(tmp_path_factory, golden):
    """One tiny network as float32 and float16, with two inputs and with int8; and what it should say."""
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    kinds, folder = onnx.TensorProto, tmp_path_factory.mktemp("onnx")
    weights = np.random.default_rng(5).normal(size=(192, 5)).astype("float32")

    def save(name, inputs, nodes, output, *constants):
        given = [onnx.helper.make_tensor_value_info(n, kind, ["N", 8, 8, 3]) for n, kind in inputs]
        told = [onnx.helper.make_tensor_value_info("y", *output)]
        graph = onnx.helper.make_graph(nodes, "tiny", given, told, list(constants))
        built = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
        built.ir_version = 8
        onnx.save(built, folder / f"{name}.onnx")

    flat = onnx.numpy_helper.from_array(np.array([1, 192]), "s")
    for name, kind, dtype in (("float", kinds.FLOAT, "float32"), ("half", kinds.FLOAT16, "float16")):
        nodes = [
            onnx.helper.make_node("Reshape", ["x", "s"], ["r"]),
            onnx.helper.make_node("MatMul", ["r", "w"], ["y"]),
        ]
        constant = onnx.numpy_helper.from_array(weights.astype(dtype), "w")
        save(name, [("x", kind)], nodes, (kind, ["N", 5]), flat, constant)
    pair = [("x", kinds.FLOAT), ("z", kinds.FLOAT)]
    save("two", pair, [onnx.helper.make_node("Add", ["x", "z"], ["y"])], (kinds.FLOAT, ["N", 8, 8, 3]))
    whole = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    save("int8", [("x", kinds.INT8)], whole, (kinds.INT8, ["N", 8, 8, 3]))
    np.save(folder / "outputs.npy", np.load(golden).reshape(GOLDEN, 192) @ weights)
    return folder


class Program:
    """The on-device program with one job, run by a Python of this machine."""

    def __init__(self, folder, kind="python"):
        self.folder, self.kind = folder, kind
        self.job = {"protocol": 2, "run": "test-run", "runtime": "null", "site": [], "artifact": "none",
                    "golden": None, "threads": 1, "cpus": [], "warmup": 3, "runs": 20, "period_ns": 0,
                    "max_s": 30, "watch": None, "profile": None,
                    "spool": str(folder / "spool.jsonl")}  # fmt: skip

    def command(self, python=sys.executable):
        """Return what starts the program."""
        native = native_program(platform.machine())
        if self.kind == "native" and native is None:
            pytest.skip("the native programs are not built here: pip install -e .")
        if self.kind == "python":
            return [python, "-I", str(python_program())]
        own = self.folder / "edgekit_runner"
        shutil.copy(native, own)
        own.chmod(0o700)
        return [str(own)]

    def start(self, name="latency", python=sys.executable, **changes):
        """Start a pass with the job changed so."""
        path = self.folder / "job.json"
        path.write_text(json.dumps({**self.job, **changes}))
        return subprocess.Popen(
            [*self.command(python), str(path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name="latency", python=sys.executable, **changes):
        """Run a pass to its end; return exit code and events."""
        process = self.start(name, python, **changes)
        self.stdout, self.stderr = process.communicate(timeout=120)
        return process.returncode, self.events()

    def events(self):
        """Return what the spool holds, each line held against the protocol."""
        spool = Path(self.job["spool"])
        return [parse_line(line) for line in spool.read_bytes().splitlines()] if spool.exists() else []


@pytest.fixture
def program(tmp_path):
    """The program for devices with a Python."""
    return Program(tmp_path)


@pytest.fixture(params=["python", "native"])
def either(request, tmp_path):
    """Both programs, one after the other."""
    return Program(tmp_path, request.param)


@pytest.fixture(scope="session")
def ort_site():
    """The folders where both programs find this machine's ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime", reason="needs the convert extra")
    folder = Path(ort.__file__).parent / "capi"
    if not list(folder.glob("libonnxruntime.so*")):
        pytest.skip("this ONNX Runtime has no library of its own")
    return [str(folder)]


@pytest.fixture
def local(tmp_path, monkeypatch):
    """This machine as a device, with EdgeKit's folder in a place of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


@pytest.fixture
def make_wheel(tmp_path):
    """Make a wheel of these files: (name, version, tag, files)."""

    def make(name="toy", version="1.0", tag="py3-none-any", files=(("toy.py", b"VALUE = 7\n"),), folder=None):
        path = (folder or tmp_path) / f"{name}-{version}-{tag}.whl"
        info = f"{name}-{version}.dist-info"
        told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        with zipfile.ZipFile(path, "w") as wheel:
            for inside, data in files:
                wheel.writestr(inside, data)
            wheel.writestr(f"{info}/METADATA", told)
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return make


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that pip takes wheels from, and nothing else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def make_facts():
    """Make facts of a board that is up to everything, but for what is said."""

    def make(**changes):
        told = {"machine": "aarch64", "system": "Linux", "kernel": "6.1.0", "libc": "glibc 2.36",
                "libstdcxx": "/usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.30",
                "python": "/usr/bin/python3.11\t3.11\t64\tok", "free_kib": "9000000", **changes}  # fmt: skip
        lines = "".join(f"{key}\t{value}\n" for key, value in told.items() if value is not None)
        return read_facts(f"edgekit-facts 1\n{lines}end\n".encode(), scheme="ssh", address="ssh://board")

    return make


@pytest.fixture(scope="session")
def real_cache():
    """The user's own cache of wheels, whatever a test makes of XDG_CACHE_HOME."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "edgekit" / "wheels"
