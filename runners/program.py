"""The programs for devices: the native one, and for a Python a folder of modules here, one file there.

The latter is a zip archive that Python runs. The same modules make the same bytes, so that a device that has
the file is not sent it again.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from edgekit.bundle import write_atomic
from edgekit.runners import on_device
from edgekit.runners.wheels import cache_folder

MODULES = Path(on_device.__file__).parent / "python" / "edgekit_runner"
NATIVE = MODULES.parent.parent / "native"
_NAME = "edgekit_runner.pyz"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_BEGIN = f"import sys\nfrom {MODULES.name}.main import main\nsys.exit(main(sys.argv[1:]))\n"


def python_program() -> Path:
    """Return the program as one file on the host, made when it is not kept yet."""
    content = _packed()
    path = cache_folder().parent / "programs" / hashlib.sha256(content).hexdigest()[:32] / _NAME
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return path


def native_program(abi: str) -> Path | None:
    """Return the native program for a machine (in uname's words), or None where there is none."""
    path = NATIVE / "bin" / f"edgekit_runner-{abi}"
    return path if path.is_file() else None


@cache
def _packed() -> bytes:
    """Return the archive: stored, not compressed, for a Python may lack zlib."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(MODULES.glob("*.py")):
            file.writestr(zipfile.ZipInfo(f"{MODULES.name}/{path.name}", _LONG_AGO), path.read_bytes())
        file.writestr(zipfile.ZipInfo("__main__.py", _LONG_AGO), _BEGIN)
    return archive.getvalue()
