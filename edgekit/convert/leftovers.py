"""What a call that was killed leaves behind, and how the next one clears it away.

Unproved artifacts lie beside the bundle in `.NAME.PID.part`, files under way in it as `.FILE.PID.part`; both
go when no process has that number any more. An artifact or golden array that the manifest does not name was
about to be taken in, or is of no use any more.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from edgekit.bundle import MANIFEST
from edgekit.recipe import recipe_names

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.bundle import Bundle

ARTIFACTS, GOLDEN, LABELS = "artifacts", "golden", "labels.txt"
RECORD, REPORT = "calibration.json", "quantization.json"
_OURS = frozenset({ARTIFACTS, GOLDEN, LABELS, RECORD, REPORT})
_PART = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.part")
_ARRAY = re.compile(r"(inputs|outputs)(-[0-9a-f]{8})?\.npy")


def workplace(out: Path) -> Path:
    """Return the folder beside a bundle, on the same file system, for what is not proved yet."""
    whole = out.absolute()
    return whole.parent / f".{whole.name}.{os.getpid()}.part"


def abandoned(out: Path) -> list[Path]:
    """Return the workplaces of dead processes that were writing this bundle."""
    whole = out.absolute()
    if not whole.parent.is_dir():
        return []
    return [path for path in whole.parent.iterdir() if _is_dead(path, whole.name)]


def is_unfinished(out: Path) -> bool:
    """Tell whether `out` is a bundle that a process began and, dying, left without its manifest."""
    if (out / MANIFEST).exists() or not abandoned(out):
        return False
    return all(path.name in _OURS or _is_dead(path) for path in out.iterdir())


def clear(out: Path) -> None:
    """Remove what dead processes left at and beside a bundle."""
    if out.is_dir() and is_unfinished(out):
        for path in list(out.iterdir()):
            _remove(path)
    for folder in (out, out / GOLDEN):
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            if _is_dead(path):
                _remove(path)
    for path in abandoned(out):  # the last to go: it is what tells an unfinished bundle from a user's folder
        _remove(path)


def tidy(bundle: Bundle) -> None:
    """Remove the artifacts and golden arrays that the manifest does not name."""
    named = {a.path for a in bundle.artifacts} | {bundle.golden.inputs, bundle.golden.outputs}
    for folder, is_ours in (
        (ARTIFACTS, lambda name: name.rpartition(".")[0] in recipe_names()),
        (GOLDEN, _ARRAY.fullmatch),
    ):
        place = bundle.root / folder
        for path in list(place.iterdir()) if place.is_dir() else ():
            if f"{folder}/{path.name}" not in named and is_ours(path.name):
                _remove(path)


def _is_dead(path: Path, name: str | None = None) -> bool:
    """Tell whether this is the part file of a process that is no more; our own earlier ones count."""
    found = _PART.fullmatch(path.name)
    if found is None or (name is not None and found["name"] != name):
        return False
    pid = int(found["pid"])
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
