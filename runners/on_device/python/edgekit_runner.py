"""EdgeKit's program on the device: loads an artifact, invokes it, tells what happened as JSON lines.

    python3 edgekit_runner.py JOB.json memory|latency     the protocol is in edgekit/runners/on_device
    python3 edgekit_runner.py --import RUNTIME SITE...    prints {"runtime", "version"} or an error line

It is one file for Python 3.7 or newer, its standard library, and numpy where a runtime brings it. Exit
codes: 0 the pass ended, 1 it broke off and the spool says why, 2 the job or its spool can't be used.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import functools
import gc
import glob
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

PROTOCOL, PASSES = 1, ("memory", "latency")
CHUNK_NS, CONDITIONS_EVERY = 500000000, 4  # samples are told twice a second, conditions every other second
MEMORY_RUNS, WATCH_S = 20, 0.005
SPOOL_PATIENCE_S, MAX_OUTPUT_BYTES, MAX_S = 10, 8 << 20, 1e6
JOB: dict[str, Any] = {
    "protocol": int, "run": str, "runtime": str, "site": list, "artifact": str, "golden": (str, type(None)),
    "threads": int, "warmup": int, "runs": int, "max_s": (int, float), "spool": str,
}  # fmt: skip
FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
THROTTLED = ((0, "under-voltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit"))
STOP: list[int] = []
RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)
NOW = functools.partial(time.clock_gettime_ns, RAW) if RAW is not None else time.perf_counter_ns


class Trouble(Exception):  # noqa: N818
    """What the host is told in an error line: kind and message."""

    def told(self) -> dict[str, str]:
        """Return the error line's fields."""
        return {"e": "error", "kind": self.args[0], "message": self.args[1]}


@contextlib.contextmanager
def blame(kind: str) -> Any:
    """Turn whatever a library raises inside into a Trouble of this kind."""
    try:
        yield
    except Trouble:
        raise
    except Exception as error:
        raise Trouble(kind, f"{type(error).__name__}: {error}"[:2000]) from error


class Spool:
    """The file that every line is appended to. A full disk keeps lines waiting; it loses none."""

    def __init__(self, path: str, name: str) -> None:
        self.name, self.pending = name, b""
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, e: str, **fields: object) -> None:
        """Append one line and hand it to the kernel, with all that waits."""
        line = dict({"e": e, "pass": self.name, "t": NOW()}, **fields)
        self.pending += json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what waits; whatever finds no space goes on waiting."""
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.handle, self.pending) :]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def close(self) -> None:
        """Write what waits, patiently, and make it last."""
        for pause in [1] * SPOOL_PATIENCE_S:
            self.flush()
            time.sleep(pause if self.pending else 0)
        os.fsync(self.handle)
        if self.pending:
            raise OSError(errno.ENOSPC, "No space left on device for the spool")


def text_of(path: str) -> str | None:
    """Return a small file's text, or None where it can't be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(65536).decode("utf-8", "replace").strip("\0\n ")
    return None


def number_of(path: str) -> int | None:
    """Return the number that a small file holds, or None."""
    with contextlib.suppress(ValueError):
        return int(text_of(path) or "", 0)
    return None


def field_of(path: str, name: str) -> str:
    """Return what stands after `NAME:` in a file of such lines, or nothing."""
    lines = [line.partition(":") for line in (text_of(path) or "").splitlines()]
    return next((value.strip() for key, _, value in lines if key == name), "")


def known(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is there: None, and nothing at all, is left out."""
    return {key: value for key, value in told.items() if value not in (None, "", [], {})}


def cluster(policy: str) -> dict[str, Any]:
    """Return governor and clock (kHz) of a group of cores that shares them."""
    told: dict[str, Any] = {"cpus": text_of(policy + "/affected_cpus")}
    told.update(
        governor=text_of(policy + "/scaling_governor"), cur_khz=number_of(policy + "/scaling_cur_freq")
    )
    return known(dict(told, max_khz=number_of(policy + "/cpuinfo_max_freq")))


def temperatures() -> dict[str, float]:
    """Return degrees Celsius by thermal zone; a second zone of one name gets its number."""
    found: dict[str, float] = {}
    for zone in sorted(glob.glob("/sys/class/thermal/thermal_zone*"))[:64]:
        value = number_of(zone + "/temp")
        if value is not None:
            name = (text_of(zone + "/type") or "zone")[:60]
            found[name + "#" + zone.rpartition("zone")[2] if name in found else name] = value / 1000.0
    return found


def throttling(seen: dict[str, int]) -> dict[str, str | None]:
    """Return {"throttled": what holds the clock back, or did since `seen` was begun}, {} if nothing tells."""
    told = []
    mask = number_of("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if mask is not None:
        new = (mask >> 16) & ~(seen.setdefault("mask", mask) >> 16)
        told += [name for bit, name in THROTTLED if (mask | new) >> bit & 1]
    coolers = sorted(glob.glob("/sys/class/thermal/cooling_device*"))
    for cooler in coolers:
        kind, state = text_of(cooler + "/type") or "", number_of(cooler + "/cur_state")
        if state and kind.startswith(("cpufreq", "thermal-cpufreq", "cpu-cluster", "Processor")):
            told.append(f"{kind[:60]} at step {state}")
    return {"throttled": ", ".join(told) or None} if coolers or mask is not None else {}


def conditions(when: str, seen: dict[str, int]) -> dict[str, object]:
    """Return the conditions line's fields; what can't be read is left out."""
    load, free = (text_of("/proc/loadavg") or "").split(), field_of("/proc/meminfo", "MemAvailable")
    told = {
        "when": when,
        "load1": float(load[0]) if load else None,
        "mem_available_bytes": int(free.split()[0]) * 1024 if free else None,
        "cpus_allowed": field_of("/proc/self/status", "Cpus_allowed_list"),
        "clusters": [cluster(path) for path in sorted(glob.glob("/sys/devices/system/cpu/cpufreq/policy*"))],
        "temperatures": temperatures(),
    }
    return dict(known(told), **throttling(seen))


def memory_now() -> dict[str, int]:
    """Return this process's share of memory in bytes: smaps_rollup, or the sum over smaps."""
    for path in ("/proc/self/smaps_rollup", "/proc/self/smaps"):
        sums: dict[str, int] = {}
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, rest = line.partition(":")
                words = rest.split()
                if words[1:] == ["kB"]:
                    sums[key] = sums.get(key, 0) + int(words[0]) * 1024
        if "Pss" in sums and "Private_Dirty" in sums:
            told = {"pss_bytes": sums["Pss"], "private_dirty_bytes": sums["Private_Dirty"]}
            told["swap_bytes"] = sums.get("SwapPss", sums.get("Swap", 0))
            return known(dict(told, file_bytes=sums.get("Pss_File")))
    raise Trouble("memory", "neither /proc/self/smaps_rollup nor /proc/self/smaps can be read")


class Watch(threading.Thread):
    """Samples the process's memory on the side and keeps the largest, for peaks inside a call."""

    def __init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)
        self.done, self.lock, self.peak = threading.Event(), threading.Lock(), memory_now()

    def take(self) -> dict[str, int]:
        """Sample once."""
        now = memory_now()
        with self.lock:
            self.peak = max(self.peak, now, key=lambda told: told["pss_bytes"] + told["swap_bytes"])
        return now

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.done.wait(WATCH_S):
            self.take()


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

    def load(self, path: str, threads: int) -> None:
        """Open an .onnx on the CPU provider, and on no other."""
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        net = self.ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if net.get_providers() != ["CPUExecutionProvider"]:
            raise Trouble("load", f"asked for the CPU provider, got {net.get_providers()}")
        given, self.binding = one(net.get_inputs()), net.io_binding()
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


RUNTIMES = {"litert": Litert, "onnxruntime": Onnxruntime, "null": Null}


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


def timed(invoke: Any, runs: int, limit_ns: int, give: Any) -> int:
    """Invoke up to `runs` times within `limit_ns`; hand over every duration in chunks; return how many."""
    now, chunk, count = NOW, [], 0
    gc.collect()
    gc.disable()
    begun = flushed = now()
    try:
        while count < runs:
            start = now()
            invoke()
            end = now()
            chunk.append(end - start)
            count += 1
            if end - flushed >= CHUNK_NS or not count & 0xFFFF:
                give(chunk)
                chunk, flushed = [], now()
            if STOP or end - begun >= limit_ns:
                break
    finally:
        gc.enable()
        if chunk:
            give(chunk)
    return count


def load_and_first(job: dict[str, Any], runtime: Any, spool: Spool, loaded: Any) -> Feed:
    """Load, feed the first input, invoke once; tell both times."""
    with blame("load"):
        start = NOW()
        runtime.load(job["artifact"], job["threads"])
        spool.tell("load", ns=NOW() - start)
    loaded()
    feed = Feed(job["golden"], runtime.shape)
    with blame("invoke"):
        runtime.feed(feed[0])
        start = NOW()
        runtime.invoke()
        spool.tell("first", ns=NOW() - start)
    return feed


def memory_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell the process's memory before the load, after it, after the first invocation, and its peak."""
    watch = Watch()
    watch.start()
    spool.tell("memory", phase="baseline", **watch.take())
    load_and_first(job, runtime, spool, lambda: spool.tell("memory", phase="loaded", **watch.take()))
    spool.tell("memory", phase="first", **watch.take())
    runs, count = min(job["runs"], MEMORY_RUNS), 0
    limit = NOW() + int(job["max_s"] * 1e9)
    while count < runs and not STOP and NOW() < limit:
        with blame("invoke"):
            runtime.invoke()
        count += 1
        watch.take()
    watch.done.set()
    spool.tell("memory", phase="peak", **watch.peak)
    return count


def latency_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell load, first, warm-up and timed invocations, then the golden outputs."""
    seen: dict[str, int] = {}
    limit_ns, chunks = int(job["max_s"] * 1e9), [0]

    def give(chunk: list[int]) -> None:
        spool.tell("samples", ns=chunk)
        chunks[0] += 1
        if chunks[0] % CONDITIONS_EVERY == 0:
            spool.tell("conditions", **conditions("during", seen))

    spool.tell("conditions", **conditions("before", seen))
    feed = load_and_first(job, runtime, spool, gc.collect)
    warm: list[int] = []
    with blame("invoke"):
        timed(runtime.invoke, job["warmup"], limit_ns, warm.extend)
        spool.tell("warmup", ns=warm)
        spool.tell("conditions", **conditions("during", seen))
        count = 0 if STOP else timed(runtime.invoke, job["runs"], limit_ns, give)
        spool.tell("conditions", **conditions("after", seen))
        for index in range(0 if STOP else feed.count):
            tell_outputs(index, feed, runtime, spool)
    return count


def tell_outputs(index: int, feed: Feed, runtime: Any, spool: Spool) -> None:
    """Run one golden input and tell every output."""
    runtime.feed(feed[index])
    runtime.invoke()
    for number, tensor in enumerate(runtime.outputs()):
        if tensor.nbytes > MAX_OUTPUT_BYTES:
            raise Trouble("invoke", f"output {number} has {tensor.nbytes} bytes: over {MAX_OUTPUT_BYTES}")
        data = base64.b64encode(tensor.tobytes()).decode("ascii")
        spool.tell("output", golden=index, output=number, shape=list(tensor.shape), data=data)


def read_job(path: str, name: str) -> dict[str, Any]:
    """Return the job, every key there and of its type."""
    with blame("job"), open(path, encoding="utf-8") as file:
        PASSES.index(name)
        job = json.load(file)
    if not isinstance(job, dict) or set(job) != set(JOB):
        raise Trouble("job", f"the job should hold {', '.join(JOB)}")
    wrong = [key for key, kind in JOB.items() if not isinstance(job[key], kind) or isinstance(job[key], bool)]
    if wrong or job["protocol"] != PROTOCOL:
        raise Trouble("job", f"the job's {', '.join(wrong) or 'protocol'} is none that this program takes")
    if job["threads"] < 1 or job["runs"] < 1 or job["warmup"] < 0 or not 0 < job["max_s"] < MAX_S:
        raise Trouble("job", "the job's threads and runs begin at 1, warmup at 0, max_s above 0")
    return job


def run_pass(job: dict[str, Any], name: str, spool: Spool) -> int:
    """Run one pass; return the exit code."""
    work = {"memory": memory_pass, "latency": latency_pass}
    try:
        with blame("runtime"):
            runtime = open_runtime(job["runtime"], job["site"])
            told = {"runtime": job["runtime"], "version": runtime.version, "threads": job["threads"]}
            spool.tell("hello", protocol=PROTOCOL, run=job["run"], pid=os.getpid(), program="python", **told)
            count = work[name](job, runtime, spool)
    except Trouble as trouble:
        spool.tell(**trouble.told())
        return 1
    asked = job["runs"] if name == "latency" else min(job["runs"], MEMORY_RUNS)
    spool.tell("end", reason="stopped" if STOP else "done" if count >= asked else "limit", count=count)
    return 0


def main(argv: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    signal.signal(signal.SIGTERM, lambda number, _frame: STOP.append(number))
    try:
        if argv[:1] == ["--import"]:
            print(json.dumps({"runtime": argv[1], "version": open_runtime(argv[1], argv[2:]).version}))
            return 0
        with blame("job"):
            job = read_job(argv[0], *argv[1:])
            spool = Spool(job["spool"], argv[1])
    except Trouble as trouble:
        print(json.dumps(trouble.told()), file=sys.stderr)
        return 2
    try:
        return run_pass(job, argv[1], spool)
    finally:
        spool.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
