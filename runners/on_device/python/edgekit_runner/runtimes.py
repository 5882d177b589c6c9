"""What executes an artifact here: each loads, feeds, invokes and tells its outputs alike."""

from __future__ import annotations

import functools
import glob
import importlib
import os
import sys
from typing import Any

from .spool import Trouble, blame

FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def release(module: Any, name: str) -> str:
    """Return a runtime's version: its own word, or its folder of metadata's."""
    told = getattr(module, "__version__", None)
    found = [p for site in sys.path for p in glob.glob(f"{site}/{name}-*.dist-info")] or [
        "/-unknown.dist-info"
    ]
    return told or os.path.basename(found[0]).split("-")[1].rpartition(".dist")[0]


def stored(sample: Any, dtype: Any, scale: float, zero_point: int) -> Any:
    """Return a float32 array as a tensor stores it: quantized with the tensor's own scale, or cast."""
    numpy = importlib.import_module("numpy")
    if dtype.kind == "f":
        return numpy.ascontiguousarray(sample, dtype=dtype)
    bounds = numpy.iinfo(dtype)
    steps = numpy.rint(sample.astype("float64") / scale) + zero_point
    return numpy.ascontiguousarray(numpy.clip(steps, bounds.min, bounds.max), dtype=dtype)


def real(tensor: Any, scale: float, zero_point: int) -> Any:
    """Return a stored tensor as little-endian float32."""
    return ((tensor.astype("float64") - zero_point) * scale if scale else tensor).astype("<f4")


def one(inputs: list[Any]) -> Any:
    """Return the only input; golden inputs are for one."""
    if len(inputs) == 1:
        return inputs[0]
    raise Trouble("load", f"the artifact has {len(inputs)} inputs; golden inputs are for one")


class Null:
    """Nothing at all: what the loop itself costs. It has no input, so nothing but `invoke` is ever used."""

    shape, version = None, "{}.{}.{}".format(*sys.version_info[:3])

    def load(self, *nothing: object) -> None:
        """Do nothing."""

    feed = invoke = load


class Litert:
    """LiteRT, by either of its Python names. The timed span is Interpreter.invoke()."""

    def __init__(self) -> None:
        try:
            module = importlib.import_module("ai_edge_litert.interpreter")
            self.version = release(importlib.import_module("ai_edge_litert"), "ai_edge_litert")
        except ModuleNotFoundError as error:
            if error.name not in ("ai_edge_litert", "ai_edge_litert.interpreter"):
                raise
            module = importlib.import_module("tflite_runtime.interpreter")
            self.version = release(importlib.import_module("tflite_runtime"), "tflite_runtime")
        self.interpreter_class = module.Interpreter

    def load(self, path: str, threads: int) -> None:
        """Open a .tflite and allocate its tensors."""
        net = self.interpreter_class(model_path=path, num_threads=threads)
        net.allocate_tensors()
        self.net, self.spec, self.out = net, one(net.get_input_details()), net.get_output_details()
        self.shape, self.invoke = tuple(int(n) for n in self.spec["shape"]), net.invoke
        self.dtype = importlib.import_module("numpy").dtype(self.spec["dtype"])
        if self.dtype.kind != "f" and not self.spec["quantization"][0]:
            raise Trouble("load", f"input {self.spec['name']!r} is {self.dtype} without a scale")

    def feed(self, sample: Any) -> None:
        """Put a float32 array of the input's shape into the input."""
        self.net.set_tensor(self.spec["index"], stored(sample, self.dtype, *self.spec["quantization"]))

    def outputs(self) -> list[Any]:
        """Return every output as float32."""
        return [real(self.net.get_tensor(o["index"]), *o["quantization"]) for o in self.out]


class Onnxruntime:
    """ONNX Runtime on the CPU. The timed span is InferenceSession.run_with_iobinding()."""

    def __init__(self) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        self.ort = importlib.import_module("onnxruntime")
        getattr(self.ort, "disable_telemetry_events", int)()
        self.version = release(self.ort, "onnxruntime")

    def options(self, threads: int) -> Any:
        """Return how a session shall run."""
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        return options

    def load(self, path: str, threads: int) -> None:
        """Open an .onnx on the CPU provider, and on no other."""
        net = self.ort.InferenceSession(path, self.options(threads), providers=["CPUExecutionProvider"])
        if net.get_providers() != ["CPUExecutionProvider"]:
            raise Trouble("load", f"asked for the CPU provider, got {net.get_providers()}")
        given, self.binding, self.net = one(net.get_inputs()), net.io_binding(), net
        batch = [n if isinstance(n, int) else 1 for n in given.shape[:1]]
        self.name, self.shape = given.name, (*batch, *given.shape[1:])
        self.dtype = importlib.import_module("numpy").dtype(FLOATS.get(given.type, "O"))
        if self.dtype.kind != "f" or not all(isinstance(n, int) for n in self.shape):
            raise Trouble(
                "load", f"input {given.name!r}: {given.type} {given.shape} is no float of fixed shape"
            )
        for output in net.get_outputs():
            if output.type in ("tensor(int8)", "tensor(uint8)"):
                raise Trouble(
                    "load", f"output {output.name!r}: an .onnx does not tell an {output.type}'s scale"
                )
            self.binding.bind_output(output.name)
        self.invoke = functools.partial(net.run_with_iobinding, self.binding)

    def feed(self, sample: Any) -> None:
        """Bind a float32 array of the input's shape to the input."""
        self.kept = stored(sample, self.dtype, 0.0, 0)
        self.binding.bind_cpu_input(self.name, self.kept)

    def outputs(self) -> list[Any]:
        """Return every output as float32."""
        return [real(tensor, 0.0, 0) for tensor in self.binding.copy_outputs_to_cpu()]


def open_coreml() -> Any:
    """Return Core ML, which needs more than the others do."""
    return importlib.import_module(__package__ + ".coreml").Coreml()


def nodes_of(runtime: Any) -> list[dict[str, Any]]:
    """Return the nodes of a LiteRT interpreter, delegates' included; other runtimes do not tell theirs."""
    told: list[Any] = getattr(getattr(runtime, "net", None), "_get_ops_details", list)()
    return [
        {
            "index": int(node["index"]),
            "kind": str(node["op_name"]),
            "inputs": [int(n) for n in node["inputs"] if n >= 0],
            "outputs": [int(n) for n in node["outputs"] if n >= 0],
        }
        for node in told
    ]


def taken_by(runtime: Any) -> dict[str, Any]:
    """Return who executes the network, as far as the runtime tells: nodes, delegates' too, or providers."""
    nodes: list[dict[str, Any]] = nodes_of(runtime)
    net: Any = getattr(runtime, "net", None)
    told = {"nodes": nodes} if nodes else {}
    return dict(told, providers=net.get_providers()) if hasattr(net, "get_providers") else told


RUNTIMES = {"litert": Litert, "onnxruntime": Onnxruntime, "null": Null, "coreml": open_coreml}


def open_runtime(name: str, site: list[str]) -> Any:
    """Import a runtime with these folders first."""
    if name not in RUNTIMES:
        raise Trouble("runtime", f"unknown runtime {name!r}; known: {', '.join(sorted(RUNTIMES))}")
    with blame("runtime"):
        sys.path[:0] = site
        return RUNTIMES[name]()


class Feed:
    """The golden inputs, one at a time, as the artifact's input takes them; zeros without a golden file."""

    def __init__(self, path: str | None, shape: Any) -> None:
        self.shape, self.count, self.array = shape, 0, None
        if shape is not None and path is None:
            self.array = importlib.import_module("numpy").zeros((1, *shape), "float32")
        elif shape is not None:
            with blame("job"):
                self.array = importlib.import_module("numpy").load(path, mmap_mode="r", allow_pickle=False)
            found, self.count = (str(self.array.dtype), self.array.shape[1:]), len(self.array)
            if found not in (("float32", shape), ("float32", shape[1:])) or shape[0] != 1:
                raise Trouble("job", f"golden inputs are {found}, the artifact's input has the shape {shape}")

    def __getitem__(self, index: int) -> Any:
        """Return one input as float32, of the artifact's shape."""
        return None if self.array is None else self.array[index].copy().reshape(self.shape)
