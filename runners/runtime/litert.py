"""LiteRT (TensorFlow Lite): ai-edge-litert's wheels, and tflite-runtime's where those do not load.

The needs were read from the wheels' libraries by `edgekit.runners.elf`, and they are not what the tags say:

    ai-edge-litert 2.3.0   aarch64 GLIBC_2.34, GLIBCXX_3.4.30 (tagged manylinux_2_27); x86_64 2.27, 3.4.22
    ai-edge-litert 2.1.0   aarch64 GLIBC_2.30, GLIBCXX_3.4.26 (tagged manylinux_2_27); x86_64 2.27, 3.4.22
    tflite-runtime 2.14.0  aarch64 and armv7l GLIBC_2.27 (tagged manylinux_2_34: pip refuses what loads);
                           x86_64 2.29, 3.4.22
    tflite-runtime 2.11.0  GLIBC_2.27; the last one for Python 3.7

The native program calls the TFLite C API, which 2.1.0's libLiteRt.so exports in the wheel for aarch64;
neither its wheel for x86_64 nor later ones do.

tflite-runtime wants a numpy below 2. For armv7l there is no wheel of numpy: the device's own is used.
"""

from __future__ import annotations

from edgekit.runners.runtime.base import Build, Library, Runtime

_NUMPY_2 = (((9, 9), "numpy==2.0.2"), ((10, 10), "numpy==2.2.6"), ((11, 14), "numpy==2.4.6"))
_NUMPY_1 = (((7, 7), "numpy==1.21.6"), ((8, 8), "numpy==1.24.4"), ((9, 11), "numpy==1.26.4"))


def _litert(version: str, python: tuple[int, int], abi: str, glibc: tuple[int, int], glibcxx: int) -> Build:
    return Build(
        distribution="ai-edge-litert",
        version=version,
        python=python,
        glibc=glibc,
        glibcxx=glibcxx,
        abis=(abi,),
        requires=_NUMPY_2,
    )


def _tflite(
    version: str, python: tuple[int, int], abi: str, glibc: tuple[int, int], glibcxx: int = 0
) -> Build:
    return Build(
        distribution="tflite-runtime",
        version=version,
        python=python,
        glibc=glibc,
        glibcxx=glibcxx,
        abis=(abi,),
        requires=() if abi == "armv7l" else _NUMPY_1,
    )


LITERT = Runtime(
    name="litert",
    formats=("tflite",),
    takes=("release",),
    libraries=(
        Library(
            distribution="ai-edge-litert",
            version="2.1.0",
            path="ai_edge_litert/libLiteRt.so",
            glibc=(2, 30),
            glibcxx=26,
            abis=("aarch64",),
        ),
    ),
    builds=(
        _litert("2.3.0", (10, 14), "aarch64", (2, 34), 30),
        _litert("2.3.0", (10, 14), "x86_64", (2, 27), 22),
        _litert("2.1.0", (9, 13), "aarch64", (2, 30), 26),
        _litert("2.1.0", (9, 13), "x86_64", (2, 27), 22),
        _tflite("2.14.0", (8, 11), "aarch64", (2, 27)),
        _tflite("2.14.0", (8, 11), "armv7l", (2, 27)),
        _tflite("2.14.0", (8, 11), "x86_64", (2, 29), 22),
        _tflite("2.11.0", (7, 7), "aarch64", (2, 27)),
        _tflite("2.11.0", (7, 7), "armv7l", (2, 27)),
    ),
)
