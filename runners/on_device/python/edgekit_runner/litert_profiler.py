"""LiteRT's own profiler, by the C interface of libLiteRt.so that its wheel brings.

Python's Interpreter has no way to it, so the same library's CompiledModel runs the artifact once more here:
the same kernels and the same XNNPACK, created with a profiler, so that XNNPACK tells its operators too.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from ctypes import byref, c_char_p, c_int, c_int32, c_size_t, c_uint64, c_void_p
from typing import Any

CPU, BUILTIN, DELEGATE, INSIDE = 1, 2, 4, 8
WRITE = 1


class Unavailable(Exception):  # noqa: N818
    """Why there are no times of operators."""


class Event(ctypes.Structure):
    """One measured span; times in microseconds."""

    _fields_ = (
        ("tag", c_char_p), ("type", c_int), ("start", c_uint64), ("elapsed", c_uint64),
        ("memory", c_size_t * 6), ("index", c_uint64), ("graph", c_uint64), ("source", c_int),
    )  # fmt: skip


class Profiled:
    """An artifact opened with a profiler; what it holds is left to the end of the process, which is near."""

    def __init__(self, path: str, threads: int) -> None:
        folder = os.path.dirname(importlib.import_module("ai_edge_litert").__file__ or "")
        try:
            self.library = ctypes.CDLL(os.path.join(folder, "libLiteRt.so"))
            libc = ctypes.CDLL(None)
            libc.strdup.restype, self.strdup, self.free = c_void_p, libc.strdup, libc.free
            self.environment, self.model, self.net = c_void_p(), c_void_p(), c_void_p()
            self.profiler, self.graph = c_void_p(), c_void_p()
            self.buffers: dict[str, Any] = {}
            self.open(path, threads)
        except (OSError, AttributeError) as error:
            raise Unavailable(f"LiteRT's profiler can't be reached: {error}") from error

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library's; whatever it returns but 0 is an error."""
        status = getattr(self.library, name)(*arguments)
        if status:
            raise Unavailable(f"{name} returned {status}")

    def open(self, path: str, threads: int) -> None:
        """Open the artifact on the CPU, with a profiler."""
        options = c_void_p()
        self.call("LiteRtCreateEnvironment", 0, None, byref(self.environment))
        self.call("LiteRtCreateModelFromFile", self.environment, path.encode(), byref(self.model))
        self.call("LiteRtCreateOptions", byref(options))
        self.call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        self.option(options, b"runtime_options_string", b"enable_profiling = true\n")
        self.option(options, b"xnnpack", b"num_threads = %d\n" % threads)
        self.call("LiteRtCreateCompiledModel", self.environment, self.model, options, byref(self.net))
        self.call("LiteRtCompiledModelGetProfiler", self.net, byref(self.profiler))
        self.call("LiteRtGetModelSubgraph", self.model, c_size_t(0), byref(self.graph))
        for kind in ("Input", "Output"):
            self.buffers[kind] = self.buffers_of(kind)

    def option(self, options: c_void_p, name: bytes, text: bytes) -> None:
        """Add an option that the library takes as text."""
        made, free = c_void_p(), ctypes.cast(self.free, c_void_p)
        self.call("LiteRtCreateOpaqueOptions", name, c_void_p(self.strdup(text)), free, byref(made))
        self.call("LiteRtAddOpaqueOptions", options, made)

    def buffers_of(self, kind: str) -> Any:
        """Return a buffer for each input or output."""
        count = c_size_t()
        self.call(f"LiteRtGetNumSubgraph{kind}s", self.graph, byref(count))
        made = (c_void_p * count.value)()
        for number in range(count.value):
            tensor, needs, buffer, shape = c_void_p(), c_void_p(), c_void_p(), (c_int32 * 64)()
            self.call(f"LiteRtGetSubgraph{kind}", self.graph, c_size_t(number), byref(tensor))
            self.call("LiteRtGetRankedTensorType", tensor, shape)
            for axis in range(2, 2 + (shape[1] & 127)):  # element type, rank, then the sizes
                shape[axis] = max(1, shape[axis])
            name = f"LiteRtGetCompiledModel{kind}BufferRequirements"
            self.call(name, self.net, c_size_t(0), c_size_t(number), byref(needs))
            name = "LiteRtCreateManagedTensorBufferFromRequirements"
            self.call(name, self.environment, shape, needs, byref(buffer))
            made[number] = buffer
        return made

    def feed(self, array: Any) -> None:
        """Copy an array, as the input stores it, into the input."""
        place = c_void_p()
        first = c_void_p(self.buffers["Input"][0])
        self.call("LiteRtLockTensorBuffer", first, byref(place), WRITE)
        ctypes.memmove(place, array.tobytes(), array.nbytes)
        self.call("LiteRtUnlockTensorBuffer", first)

    def invoke(self) -> None:
        """Run once."""
        given, made = self.buffers["Input"], self.buffers["Output"]
        counts = c_size_t(len(given)), c_size_t(len(made))
        self.call("LiteRtRunCompiledModel", self.net, c_size_t(0), counts[0], given, counts[1], made)

    def begin(self) -> None:
        """Profile from here on."""
        self.call("LiteRtStartProfiler", self.profiler)

    def events(self) -> list[tuple[str, str, int, int]]:
        """Return (where, what, its number, nanoseconds) of every operator that ran, and end profiling."""
        count = c_int()
        self.call("LiteRtStopProfiler", self.profiler)
        self.call("LiteRtGetNumProfilerEvents", self.profiler, byref(count))
        told = (Event * max(1, count.value))()
        self.call("LiteRtGetProfilerEvents", self.profiler, max(1, count.value), told)
        names = {BUILTIN: "built-in", DELEGATE: "delegate", INSIDE: "XNNPACK"}
        return [
            (names[event.type], event.tag.decode("utf-8", "replace"), event.index, event.elapsed * 1000)
            for event in told[: count.value]
            if event.type in names
        ]
