"""ONNX Runtime on the CPU, from its own wheels.

The needs were read from the wheels' libraries by `edgekit.runners.elf`: 1.32.0 asks for GLIBC_2.28,
1.23.2 and 1.19.2 for 2.27, all three for GLIBCXX_3.4.22; 1.14.1 for GLIBC_2.27 and GLIBCXX_3.4.21.
There is no wheel for armv7l. To import it numpy is enough, whatever else its metadata names.
"""

from __future__ import annotations

from edgekit.runners.runtime.base import Build, Library, Runtime

_BOTH = ("aarch64", "x86_64")

ONNXRUNTIME = Runtime(
    name="onnxruntime",
    formats=("onnx",),
    takes=("release",),
    env=(("ORT_DISABLE_TELEMETRY", "1"),),
    libraries=(
        Library(
            distribution="onnxruntime",
            version="1.32.0",
            path="onnxruntime/capi/libonnxruntime.so.1.32.0",
            glibc=(2, 28),
            glibcxx=22,
            abis=_BOTH,
        ),
    ),
    builds=(
        Build(
            distribution="onnxruntime",
            version="1.32.0",
            python=(11, 14),
            glibc=(2, 28),
            glibcxx=22,
            abis=_BOTH,
            requires=(((11, 14), "numpy==2.4.6"),),
        ),
        Build(
            distribution="onnxruntime",
            version="1.23.2",
            python=(10, 13),
            glibc=(2, 27),
            glibcxx=22,
            abis=_BOTH,
            requires=(((10, 10), "numpy==2.2.6"), ((11, 13), "numpy==2.4.6")),
        ),
        Build(
            distribution="onnxruntime",
            version="1.19.2",
            python=(8, 9),
            glibc=(2, 27),
            glibcxx=22,
            abis=_BOTH,
            requires=(((8, 8), "numpy==1.24.4"), ((9, 9), "numpy==2.0.2")),
        ),
        Build(
            distribution="onnxruntime",
            version="1.14.1",
            python=(7, 7),
            glibc=(2, 27),
            glibcxx=21,
            abis=("aarch64",),
            requires=(((7, 7), "numpy==1.21.6"),),
        ),
    ),
)
