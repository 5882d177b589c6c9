"""What a device and this host can do, before anything is pushed or converted."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgeKitError
from edgekit.runners.choice import decide, is_kept
from edgekit.runners.facts import inspect
from edgekit.runners.ground import inspect_ground
from edgekit.runners.phone import needs_glibc
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import open_transport
from edgekit.targets import load_target, match_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.runners.facts import Facts
    from edgekit.runners.ground import Ground
    from edgekit.runners.runtime import Runtime
    from edgekit.runners.transport import Transport
    from edgekit.targets import Device, Target

    Look = Callable[[Transport, Facts, Target | None], dict[str, Any]]

_LIBRARIES = (
    ("tensorflow", "reads Keras and SavedModel sources", "convert"),
    ("onnx", "reads ONNX sources", "convert"),
    ("litert-quantizer", "makes TFLite fp16 and int8", "convert"),
    ("ai-edge-litert", "proves TFLite artifacts here", "convert"),
    ("tf2onnx", "makes ONNX", "convert"),
    ("onnxruntime", "proves ONNX artifacts here", "convert"),
    ("coremltools", "makes Core ML", "convert"),
    ("pillow", "reads images", "convert"),
    ("plotly", "draws the report", "report"),
    ("jinja2", "writes the report", "report"),
    ("torch", "reads PyTorch weights and modules", "torch"),
    ("onnxscript", "exports PyTorch modules", "torch"),
)
_ADB_TIMEOUT_S = 10.0


def describe_device(device: Device, *, look: Look | None = None, cache: Path | None = None) -> dict[str, Any]:
    """Return what a device is and which program would run there, as JSON's types; nothing is pushed.

    Args:
        device: the device to ask.
        look: takes the open transport, the facts and the recognized target; what it returns is added.
        cache: where wheels are kept on the host; None for the user's.

    Raises:
        DeviceError: it can't be reached, or its answer can't be read.
    """
    with open_transport(device) as transport:
        facts = inspect(transport)
        target = load_target(device.target) if device.target else match_target(facts.match())
        own = {name: RUNTIMES.get(name) for name in RUNTIMES if name != "null"}
        own = {name: runtime for name, runtime in own.items() if runtime.tool is None}
        brought = any(needs_glibc(runtime, facts) for runtime in own.values())
        ground = inspect_ground(transport) if brought else None
        found = {
            "target": target.name if target else "",
            "folder": transport.root(),
            "facts": facts.to_json(),
            "ground": ground.to_json() if ground else None,
            "runtimes": {name: judge(runtime, facts, ground, cache) for name, runtime in own.items()},
        }
        return {**found, **(look(transport, facts, target) if look else {})}


def judge(runtime: Runtime, facts: Facts, ground: Ground | None, cache: Path | None = None) -> dict[str, Any]:
    """Return which program would run a runtime on a device, and what is brought for it.

    Args:
        runtime: what shall run there.
        facts: what the device is.
        ground: what a program may do there; None where no glibc is brought along.
        cache: where wheels are kept on the host; None for the user's.

    Returns:
        program: "native", "native through glibc 2.36", "python", or "none"; why: not the native one, or none;
        next: the next step then; brings: the release; kept: whether this host needs no network for it.
    """
    nothing = {"program": "none", "brings": "", "kept": False, "why": "", "next": ""}
    if runtime.name == "coreml" and facts.system == "darwin":
        return {
            **nothing,
            "program": "python",
            "brings": "coremltools of its own, where a Python there has it",
        }
    try:
        choice = decide(runtime, facts)
    except EdgeKitError as error:
        return {**nothing, "why": error.what.removeprefix("device: "), "next": error.hint}
    if choice.through_glibc and ground is not None:
        why, hint = ground.refusal(facts)
        if why:
            return {**nothing, "why": why, "next": hint}
    brings = choice.brings
    return {
        "program": f"native through {choice.facts.libc}" if choice.through_glibc else choice.program,
        "brings": f"{brings.distribution} {brings.version}" if brings else "",
        "kept": is_kept(choice, cache),
        "why": choice.not_native,
        "next": "",
    }


def examine_host() -> list[dict[str, Any]]:
    """Return one check a thing that EdgeKit can use here: {what, ok, detail}."""
    checks = [{"what": "python", "ok": True, "detail": platform.python_version()}]
    checks += [_library(*row) for row in _LIBRARIES]
    checks.append(_adb())
    ssh = shutil.which("ssh")
    detail = ssh or "not needed to connect; helps to accept a host key: apt-get install openssh-client"
    checks.append({"what": "ssh", "ok": ssh is not None, "detail": detail})
    return checks


def _library(name: str, use: str, extra: str) -> dict[str, Any]:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if name == "tensorflow":
            return _library("tensorflow-cpu", use, extra)
        return {"what": name, "ok": False, "detail": f"{use}: pip install 'edgekit-sdk[{extra}]'"}
    return {"what": name, "ok": True, "detail": f"{version}, {use}"}


def _adb() -> dict[str, Any]:
    from edgekit.runners.transport.adb_client import find_adb

    try:
        program = find_adb()
        shown = subprocess.run(
            [program, "version"], capture_output=True, text=True, timeout=_ADB_TIMEOUT_S, check=False
        )
    except (EdgeKitError, OSError, subprocess.TimeoutExpired) as error:
        return {"what": "adb", "ok": False, "detail": str(error)}
    lines = shown.stdout.splitlines()
    return {"what": "adb", "ok": shown.returncode == 0, "detail": f"{lines[0] if lines else '?'}, {program}"}
