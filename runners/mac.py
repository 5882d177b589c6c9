"""A Mac as a device: its own coremltools, and packages (folders) brought there under their sha256."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import digest
from edgekit.errors import CommandFailedError, DeviceUnfitError, UsageError
from edgekit.runners.program import python_program
from edgekit.runners.provision import Prepared, _try_import
from edgekit.runners.tool import ON_DEVICE
from edgekit.runners.transport.base import TRANSFER_TIMEOUT_S
from edgekit.runners.wheels import check_python

if TYPE_CHECKING:
    from edgekit.runners.depot import Depot
    from edgekit.runners.facts import Facts
    from edgekit.runners.runtime import Runtime
    from edgekit.runners.transport import Transport

SYSTEM = "darwin"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
# The package gets its name only when what lies there has the sha256 that it has to have: `artifact.digest`'s.
_UNPACK = r"""
import hashlib, os, shutil, sys, zipfile
packed, path, wanted = sys.argv[1:]
new = "%s.%d.part" % (path, os.getpid())
shutil.rmtree(new, ignore_errors=True)
os.umask(0o077)
with zipfile.ZipFile(packed) as archive:
    archive.extractall(new)
found = sorted((os.path.relpath(os.path.join(folder, name), new)
                for folder, _, names in os.walk(new) for name in names), key=lambda name: name.split("/"))
listing = ""
for name in found:
    with open(os.path.join(new, name), "rb") as file:
        listing += "%s  %s\n" % (hashlib.sha256(file.read()).hexdigest(), name)
if hashlib.sha256(listing.encode()).hexdigest() != wanted:
    shutil.rmtree(new)
    sys.exit("what was unpacked is not what was sent")
if os.path.isdir(path):
    shutil.rmtree(new)
else:
    os.rename(new, path)
"""


def prepare_coreml(
    transport: Transport, facts: Facts, runtime: Runtime, depot: Depot, python: str
) -> Prepared:
    """Make a Mac ready for Core ML: the program is brought, coremltools is its own.

    Args:
        transport: an open way to it.
        facts: what it is.
        runtime: Core ML, with what is asked of it in its environment.
        depot: EdgeKit's folder there.
        python: "device:PATH" of the Python that has coremltools, or "" for the first one there.

    Raises:
        UsageError: `python` lies on this host.
        DeviceUnfitError: it is no Mac, or coremltools does not load there.
    """
    address = transport.device.address
    if facts.system != SYSTEM:
        what = f"{runtime.refuses}, and this is {facts.system or 'another system'}"
        raise DeviceUnfitError(address, what, hint="choose an artifact of another format")
    if python and not python.startswith(ON_DEVICE):
        what = f"{python} lies on this host, and Core ML takes the Mac's own Python"
        raise UsageError(what, hint=f"name it so: {ON_DEVICE}/path/to/python3")
    if not python:
        check_python(facts, device=address)
    program = depot.put(python_program())
    command = (python.removeprefix(ON_DEVICE) or facts.python, program)
    version = _try_import(transport, command, runtime)
    return Prepared(site=(), version=version, build=None, command=command)


def put_package(transport: Transport, depot: Depot, local: Path, sha256: str, *, python: str) -> str:
    """Bring a folder to a device unless its content is there already; return its path there.

    Args:
        transport: an open way to it.
        depot: EdgeKit's folder there.
        local: a folder on the host.
        sha256: what its content has to be, as `artifact.digest` counts.
        python: a Python 3 there.

    Raises:
        UsageError: its content is another.
        DeviceFullError: there is no room for it.
        CommandFailedError: what arrived there can't be unpacked, or is not what was sent.
    """
    if digest(local)[0] != sha256:
        what = f"{local} has changed since its sha256 was taken"
        raise UsageError(what, hint="make it again")
    path = f"{depot.root}/store/{sha256}/package{local.suffix}"
    if transport.run(["test", "-d", path]).exit_code == 0:
        return path
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        packed = _packed(local, Path(folder) / "package.zip")
        stored = depot.put(packed)
    transport.check(["mkdir", "-p", "--", path.rpartition("/")[0]])
    argv = [python, "-I", "-c", _UNPACK, stored, path, sha256]
    result = transport.run(argv, timeout_s=TRANSFER_TIMEOUT_S)
    transport.run(["rm", "-rf", "--", stored.rpartition("/")[0]])
    if result.exit_code:
        if "No space left on device" in result.tail:
            raise transport.full(result.tail)
        what = f"{local.name} can't be unpacked there: {(result.tail.splitlines() or ['no output'])[-1]}"
        raise CommandFailedError(transport.device.address, what, evidence=result.tail)
    return path


def _packed(local: Path, path: Path) -> Path:
    """Write a folder as one archive: stored, and the same bytes each time, so that a push can go on."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in local.rglob("*") if p.is_file()):
            name = zipfile.ZipInfo(file.relative_to(local).as_posix(), _LONG_AGO)
            archive.writestr(name, file.read_bytes())
    return path
