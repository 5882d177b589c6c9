"""Core ML: made and checked here, run by Apple's own devices."""

from __future__ import annotations

from edgekit.runners.runtime.base import Runtime

COREML = Runtime(
    name="coreml",
    formats=("coreml",),
    refuses="Core ML runs on Apple devices only, and there is no transport to one yet",
)
