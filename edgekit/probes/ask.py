"""Asking a device once for all that the families want to see, and reading its answer.

The answer is data: bounded in size, one line an entry, and whatever is no such line is passed over.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgekit.probes.base import Probe
    from edgekit.runners.transport import Transport

ANSWER_BYTES = 400_000
ASK_TIMEOUT_S = 60.0
# A refused file is told too, with the words of the refusal: what may not be read is no empty value. One that
# is not there is not. `read` forks nothing; what it can't open, `head` says why.
_HELP = r"""
LC_ALL=C; export LC_ALL
f() {
  for p; do
    [ -d "$p" ] && continue
    v=; s=ok
    if [ -r "$p" ] && { IFS= read -r v || [ -n "$v" ]; } <"$p" 2>/dev/null; then :
    else
      v=$(head -c 300 "$p" 2>&1) && continue
      s=no
    fi
    case $s$v in *"No such file"*) continue ;; esac
    printf '%s\t%s\t%s\n' "$s" "${p#"$r"}" "$(printf '%.300s' "$v" | tr '\n\t' '  ')"
  done
}
c() {
  n=$1; shift
  command -v "$1" >/dev/null 2>&1 || return 0
  "$@" 2>&1 </dev/null | head -c 60000 | while IFS= read -r v; do printf 'ok\t!%s\t%s\n' "$n" "$v"; done
}
"""
_MAX_PATH, _MAX_LINE = 500, 4000
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)\s*\Z")
_LARGEST, _SMALLEST = 1e30, 1e-30
"""No sensor means more or, but for 0, less; so that products of a few numbers neither overflow nor vanish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the device told.

    Attributes:
        files: path -> first line.
        refused: path -> why it could not be read.
        commands: name -> all its lines.
    """

    files: Mapping[str, str]
    refused: Mapping[str, str]
    commands: Mapping[str, str]

    def match(self, pattern: str) -> list[str]:
        """Return the paths of readable files that fit a shell pattern, in natural order."""
        return sorted(fnmatch.filter(self.files, pattern), key=natural)

    def text(self, path: str) -> str:
        """Return a file's line, or an empty one."""
        return self.files.get(path, "").strip()

    def number(self, path: str) -> float | None:
        """Return the number that a file holds, or None."""
        return number_of(self.files.get(path, ""))


def natural(path: str) -> tuple[object, ...]:
    """Return a key by which hwmon2 sorts before hwmon10."""
    pieces = iter(re.split(r"([0-9]+)", path))
    pairs = itertools.zip_longest(pieces, pieces, fillvalue="")
    return tuple((text, len(digits.lstrip("0")), digits.lstrip("0")) for text, digits in pairs)


def number_of(text: str) -> float | None:
    """Return the number that a text is, blanks aside, or None: never NaN, infinite, or a part of the text."""
    found = _NUMBER.match(text) if len(text) < 64 and text.isascii() else None  # noqa: PLR2004
    value = float(found[1]) if found else math.inf
    return value if value == 0 or _SMALLEST <= abs(value) <= _LARGEST else None


def script_of(probes: Iterable[tuple[str, Probe]]) -> str:
    """Return the whole script: $1 is where each family's root lies, one argument a family."""
    parts = [_HELP]
    for root, probe in probes:
        quoted = root.replace("'", "'\\''")
        parts.append(f"r='{quoted}'\n{probe.script()}")
    return "{\n" + "\n".join(parts) + f"\n}} 2>/dev/null | head -c {ANSWER_BYTES}\n"


def ask(transport: Transport, probes: Iterable[Probe]) -> Told:
    """Ask a device for what these families want to see.

    Raises:
        DeviceError: the device does not answer.
    """
    script = script_of((str(getattr(probe, "root", "")), probe) for probe in probes)
    return read_answer(transport.run(["sh", "-c", script], timeout_s=ASK_TIMEOUT_S).stdout)


def read_answer(answer: bytes) -> Told:
    """Read what the script printed; lines that are none of its are passed over."""
    files: dict[str, str] = {}
    refused: dict[str, str] = {}
    commands: dict[str, list[str]] = {}
    for line in answer[:ANSWER_BYTES].decode("utf-8", "replace").splitlines():
        state, _, rest = line.partition("\t")
        name, tab, value = rest.partition("\t")
        if not tab or state not in {"ok", "no"} or len(name) > _MAX_PATH or not name.isprintable():
            continue
        value = "".join(c if c.isprintable() else " " for c in value[:_MAX_LINE])
        if name.startswith("!"):
            commands.setdefault(name[1:], []).append(value)
        elif name.startswith("/"):
            (files if state == "ok" else refused).setdefault(name, value)
    return Told(files=files, refused=refused, commands={n: "\n".join(v) for n, v in commands.items()})
