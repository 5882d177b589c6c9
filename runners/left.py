"""What lies in EdgeKit's folder on a device, told by what it is: a runtime's release, a glibc, a program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edgekit.errors import UnknownNameError
from edgekit.runners.lock import own_lock
from edgekit.runners.runtime import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.runners.transport import Transport

_LINE = re.compile(
    r"([0-9]{1,15})\t((?:store|site|runs)/[A-Za-z0-9][A-Za-z0-9._+-]{0,149})\t([^\t]{0,4000})", re.ASCII
)  # what a device says beyond that is passed over
_MAX_LINES = 10_000
_RELEASE = re.compile(r"(lib[A-Za-z0-9_]+)\.so\.(\d[0-9A-Za-z.]*)")
_INFO = re.compile(r"([A-Za-z0-9_.]+)-(\d[0-9A-Za-z.]*)\.dist-info")
# Of each: KiB on its disk, where it lies, and the names in it, one line each.
_LIST = r"""
cd -- "$1" 2>/dev/null || exit 0
for d in store/* site/* runs/*; do
  [ -e "$d" ] || continue
  set -- $(du -sk "$d")
  printf '%s\t%s\t' "$1" "$d"
  case $d in
    site/*) ls "$d" | grep 'dist-info$' | tr '\n' ' ' ;;
    store/*) ls "$d" | head -n 4 | tr '\n' ' ' ;;
  esac
  echo
done
true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One kind of thing that lies there.

    Attributes:
        what: a distribution, "glibc", "program", "run", or "file".
        version: the release, or "".
        bytes: on the device's disk.
        paths: below EdgeKit's folder.
    """

    what: str
    version: str
    bytes: int
    paths: tuple[str, ...]


def look(transport: Transport) -> tuple[Left, ...]:
    """Return what lies there by what it is, sorted; the same release in several places is one.

    Raises:
        DeviceError: it does not answer.
    """
    text = transport.check(["sh", "-c", _LIST, "sh", transport.root()]).text
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for line in text.splitlines()[:_MAX_LINES]:
        match = _LINE.fullmatch(line)
        if match:
            kind = _kind(match[2], match[3].split())
            groups.setdefault(kind, []).append((match[2], int(match[1]) * 1024))
    return tuple(
        Left(what=what, version=version, bytes=sum(n for _, n in found), paths=tuple(p for p, _ in found))
        for (what, version), found in sorted(groups.items())
    )


def only(found: Iterable[Left], name: str) -> tuple[Left, ...]:
    """Return what of it a name means: "onnxruntime", "onnxruntime==1.32.0", "glibc", "run".

    Raises:
        UnknownNameError: nothing of that lies there.
    """
    found = tuple(found)
    what, _, version = name.partition("==")
    meant = tuple(left for left in found if left.what == what and version in {"", left.version})
    if not meant:
        names = {f"{left.what}=={left.version}" if left.version else left.what for left in found}
        raise UnknownNameError("thing there", name, names)
    return meant


def remove(transport: Transport, found: Iterable[Left]) -> None:
    """Remove what `look` returned, and nothing else.

    Raises:
        DeviceError: it does not answer, or something could not be removed.
    """
    paths = [f"{transport.root()}/{path}" for left in found for path in left.paths]
    for start in range(0, len(paths), 100):
        transport.check(["rm", "-rf", "--", *paths[start : start + 100]], timeout_s=900.0)


def _kind(path: str, names: list[str]) -> tuple[str, str]:
    """Return what something is and its release."""
    place, _, name = path.partition("/")
    if place == "runs":
        return "run", ""
    if place == "site":
        inside = {match[1].replace("_", "-"): match[2] for n in names if (match := _INFO.fullmatch(n))}
        named = sorted(set(inside) & set(_distributions().values()))
        return (named[0], inside[named[0]]) if named else ("trial", "")
    if name in {part.sha256 for part in own_lock().parts}:
        return "glibc", ".".join(map(str, own_lock().glibc))
    for inside_name in names:
        match = _RELEASE.fullmatch(inside_name)
        if match and match[1] in _distributions():
            return _distributions()[match[1]], match[2]
        if inside_name.startswith("edgekit_runner"):
            return "program", ""
    return "file", ""


@cache
def _distributions() -> dict[str, str]:
    """Return the distributions of all runtimes, those with a library by its name, the others by their own."""
    found = {}
    for runtime in (RUNTIMES.get(name) for name in RUNTIMES):
        found.update({build.distribution: build.distribution for build in runtime.builds})
        for library in runtime.libraries:
            found[library.path.rpartition("/")[2].partition(".so")[0]] = library.distribution
    return found
