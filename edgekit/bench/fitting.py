"""Whether a runtime can do what a plan asks of it, as far as that is known before a device is touched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.runners.runtime import RUNTIMES, Runtime
from edgekit.targets import Device, load_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.bench.plan import BenchPlan, Work

_NULL = "null"
_COREML = "coreml"


def unfit(runtime: Runtime, work: Work, device: Device, *, named: bool) -> str:
    """Return why a runtime can't run an artifact on a device, or "".

    Args:
        runtime: what shall execute it.
        work: the artifact.
        device: where.
        named: whether it was asked for by itself, and is not just one of a bundle's.
    """
    if runtime.name == _COREML and (reason := _no_mac(device, named=named)):
        return reason
    if runtime.refuses and runtime.name != _COREML:
        return runtime.refuses
    if work.path.is_dir() and runtime.name != _COREML:
        return "it is a package (a folder), and only Core ML takes one"
    if runtime.name != _NULL and work.ref.format not in runtime.formats:
        return f"the runtime {runtime.name} takes {', '.join(runtime.formats)}, not {work.ref.format}"
    return ""


def _no_mac(device: Device, *, named: bool) -> str:
    """Return why a device is no Mac, or why it is not taken for one."""
    known = device.target is not None and _COREML in load_target(device.target).runtimes
    away = device.scheme == "ssh"
    if away and (named or known):
        return ""
    if device.scheme == "local" and sys.platform == "darwin":
        return ""
    more = ": to run it on one, name its recipe with -r, or the device's target" if away else ""
    return f"Core ML runs on Macs only{more}"


def check_wish(plan: BenchPlan) -> None:
    """Hold what a plan asks for against what its runtimes can do.

    Raises:
        UsageError: one of them can't; the message says which, and what.
    """
    runtimes = [RUNTIMES.get(name) for name in dict.fromkeys(item.runtime for item in plan.items)]
    for name in plan.wish.asked():
        if not any(name in runtime.takes for runtime in runtimes):
            used = ", ".join(runtime.name for runtime in runtimes)
            option = "--runtime-binary" if name == "binary" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} means nothing to {used}", hint="leave it out, or name its --runtime")
    for runtime in runtimes:
        asked = next(_too_much(plan, runtime), "")
        if asked:
            raise UsageError(f"{runtime.name} can't do that: {asked}", hint="leave it out for this runtime")


def _too_much(plan: BenchPlan, runtime: Runtime) -> Iterator[str]:
    """Yield what is asked of a runtime that times by itself, or places its work by itself."""
    if runtime.tool is None and runtime.name != _COREML:
        return
    if plan.program == "native":
        yield "the native program does not run it"
    if "profile" in plan.passes:
        yield "its operators are not profiled"
    if runtime.tool is not None:
        yield from _too_much_of_a_tool(plan, paced=runtime.tool.paced)
        return
    mine = [item.placement for item in plan.items if item.runtime == runtime.name]
    if any(placement.threads != 1 for placement in mine):
        yield "Core ML takes as many threads as it likes"
    if any(placement.cores for placement in mine):
        yield "macOS lets nobody choose CPUs"


def _too_much_of_a_tool(plan: BenchPlan, *, paced: bool) -> Iterator[str]:
    if plan.precision is not None:
        yield "it tells nothing before it has ended, so that it can't end when it is precise enough"
    if plan.period_s and not paced:
        yield "it runs back to back only"
    if plan.power.demanded:
        yield "power is measured beside EdgeKit's own loop only"
