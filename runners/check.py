"""What a device and this host can do, before anything is pushed or converted."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgeKitError
from edgekit.runners.facts import inspect
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import open_transport
from edgekit.runners.wheels import choose
from edgekit.targets import match_target

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.targets import Device

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


def describe_device(device: Device) -> dict[str, Any]:
    """Return what a device is and what can run there, as JSON's types; nothing is pushed.

    Args:
        device: the device to ask.

    Raises:
        DeviceError: it can't be reached, or its answer can't be read.
    """
    with open_transport(device) as transport:
        facts = inspect(transport)
        root = transport.root()
    target = device.target
    if target is None:
        found = match_target(facts.match())
        target = found.name if found else ""
    own = [name for name in RUNTIMES if name != "null" and RUNTIMES.get(name).tool is None]
    runtimes = {name: _can_run(name, facts) for name in own}
    return {"target": target, "folder": root, "facts": facts.to_json(), "runtimes": runtimes}


def examine_host() -> list[dict[str, Any]]:
    """Return one check a thing that EdgeKit can use here: {what, ok, detail}."""
    checks = [{"what": "python", "ok": True, "detail": platform.python_version()}]
    checks += [_library(*row) for row in _LIBRARIES]
    checks.append(_adb())
    ssh = shutil.which("ssh")
    detail = ssh or "not needed to connect; helps to accept a host key: apt-get install openssh-client"
    checks.append({"what": "ssh", "ok": ssh is not None, "detail": detail})
    return checks


def _can_run(name: str, facts: Facts) -> str:
    if name == "coreml" and facts.system == "darwin":
        return "coremltools of its own, where a Python there has it"
    try:
        build = choose(RUNTIMES.get(name), facts)
    except EdgeKitError as error:
        return f"no: {error.what.removeprefix('device: ')}"
    return f"{build.distribution} {build.version}"


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
