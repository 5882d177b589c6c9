"""No runtime at all: the timed loop around nothing, which is what the loop itself costs."""

from __future__ import annotations

from edgekit.runners.runtime.base import Runtime

NULL = Runtime(name="null", formats=())
