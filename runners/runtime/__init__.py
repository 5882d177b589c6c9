"""Runtimes: what executes an artifact on a device. One file each, named by the user's word."""

from __future__ import annotations

from edgekit.errors import UnknownNameError
from edgekit.plugins import Registry
from edgekit.runners.runtime.base import Build, Library, Runtime, RuntimeWish

__all__ = ["RUNTIMES", "Build", "Library", "Runtime", "RuntimeWish", "runtime_for"]

RUNTIMES: Registry[Runtime] = Registry("runtime", refuse=UnknownNameError, group="edgekit.runtimes")
RUNTIMES.add("litert", "edgekit.runners.runtime.litert:LITERT")
RUNTIMES.add("onnxruntime", "edgekit.runners.runtime.onnxruntime:ONNXRUNTIME")
RUNTIMES.add("coreml", "edgekit.runners.runtime.coreml:COREML")
RUNTIMES.add("benchmark_model", "edgekit.runners.runtime.benchmark_model:BENCHMARK_MODEL")
RUNTIMES.add("onnxruntime_perf_test", "edgekit.runners.runtime.onnxruntime_perf_test:ONNXRUNTIME_PERF_TEST")
RUNTIMES.add("null", "edgekit.runners.runtime.null:NULL")

_BY_FORMAT = {"tflite": "litert", "onnx": "onnxruntime", "coreml": "coreml"}


def runtime_for(format_: str) -> Runtime:
    """Return the runtime that takes artifacts of this format.

    Raises:
        UnknownNameError: no runtime takes it.
    """
    if format_ not in _BY_FORMAT:
        raise UnknownNameError("format", format_, _BY_FORMAT)
    return RUNTIMES.get(_BY_FORMAT[format_])
