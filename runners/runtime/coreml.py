"""Core ML: made and checked here, run by a Mac's own coremltools, or from there by an iPhone.

Nothing is brought along but the program: coremltools is the Mac's own, in its first Python 3 or in the one
that `--runtime-binary device:PATH` names. Untried on hardware: tests hold the calls that are made against
coremltools' own signatures, and run them against a stand-in.
"""

from __future__ import annotations

from edgekit.runners.runtime.base import Runtime

COREML = Runtime(
    name="coreml",
    formats=("coreml",),
    refuses="Core ML runs on Apple devices only: on Macs, and from there on iPhones",
    takes=("binary", "compute_units", "remote_device"),
)
