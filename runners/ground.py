"""What a device lets a pushed program do: asked of it before anything is pushed, in one round trip.

What matters to a glibc that was brought along: that its folder is not mounted noexec and no policy forbids to
execute what lies there; that no filter of system calls is on, for Android's kills glibc's loader at
`set_robust_list` and `rseq`; that memory pages are no larger than what the libraries are aligned to.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceUnfitError, ProtocolError
from edgekit.runners.elf import alignment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgekit.runners.transport import Transport

_MAX_TEXT = 120
_LARGEST_PAGE = 1 << 20
# A folder that was not there is not there afterwards.
_PROBE = r"""
umask 077
echo 'edgekit-ground 1'
echo "seccomp $(grep '^Seccomp:' /proc/self/status | tr -dc 0-9)"
echo "page $(getconf PAGE_SIZE 2>/dev/null || getconf PAGESIZE 2>/dev/null)"
echo "smaps $(grep -m 1 '^KernelPageSize:' /proc/self/smaps 2>/dev/null | tr -dc 0-9)"
echo "selinux $(getenforce 2>/dev/null || cat /sys/fs/selinux/enforce 2>/dev/null)"
echo "context $(tr -d '\000' 2>/dev/null </proc/self/attr/current)"
top=$1; while [ ! -d "${top%/*}" ] && [ -n "${top%/*}" ]; do top=${top%/*}; done
had=; [ -d "$1" ] && had=1
mkdir -p -- "$1" && f="$1/exec-$$" &&
  printf '#!%s\nexit 0\n' "$(command -v sh)" >"$f" && chmod 700 "$f" && "$f" && echo 'exec yes'
rm -f -- "$1/exec-$$"
if [ -z "$had" ]; then
  d=$1
  while rmdir -- "$d" 2>/dev/null && [ "$d" != "$top" ]; do d=${d%/*}; done
fi
echo end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a device told.

    Attributes:
        runs: whether a program in EdgeKit's folder may be executed.
        seccomp: 0 without a filter of system calls, 1 strict, 2 with one; None where it does not tell.
        page_bytes: of its memory pages; 0 where it does not tell.
        selinux: "enforcing", "permissive", "disabled", or "" where there is none or it does not tell.
        context: what SELinux takes the shell for, or "".
        folder: EdgeKit's there.
        evidence: the answer.
    """

    runs: bool
    seccomp: int | None
    page_bytes: int
    selinux: str
    context: str
    folder: str
    evidence: str = ""

    def refusal(self) -> tuple[str, str]:
        """Return why a glibc that is brought along can't run there and the next step, or ("", "")."""
        if self.seccomp != 0:
            mode = "is not known" if self.seccomp is None else f"is {self.seccomp}, a filter is on"
            why = f"its seccomp mode {mode}; such filters kill glibc's loader (set_robust_list, rseq)"
            return why, "reach the phone by adb, whose shell has no filter; an app's shell has one"
        if not self.runs:
            policy = f"; SELinux is enforcing there for {self.context or 'this shell'}"
            why = f"nothing may be executed in {self.folder}{policy if self.selinux == 'enforcing' else ''}"
            return (
                why,
                "reach it by a user who may: on a phone adb's shell, on a board one with an exec folder",
            )
        return "", ""

    def to_json(self) -> dict[str, Any]:
        """Return what was told as JSON's types."""
        return {key: value for key, value in asdict(self).items() if key != "evidence"}


def inspect_ground(transport: Transport) -> Ground:
    """Ask a device what a pushed program may do; nothing stays there.

    Raises:
        ProtocolError: its answer can't be read.
        DeviceError: it does not answer.
    """
    folder = transport.root()
    result = transport.run(["sh", "-c", _PROBE, "sh", folder])
    lines = result.text.splitlines()
    if lines[:1] != ["edgekit-ground 1"] or lines[-1:] != ["end"]:
        what = f"{transport.device.address}: what a program may do there can't be read"
        raise ProtocolError(what, hint="look whether its shell is no POSIX sh", evidence=result.tail)
    told = dict(line.split(" ", 1) for line in lines[1:-1] if " " in line)
    page = _number(told, "page") or _number(told, "smaps") * 1024
    return Ground(
        runs=told.get("exec") == "yes",
        seccomp=_number(told, "seccomp") if told.get("seccomp", "").strip().isdigit() else None,
        page_bytes=page if page <= _LARGEST_PAGE else 0,
        selinux=_selinux(told.get("selinux", "")),
        context=re.sub(r"[^A-Za-z0-9_:,.-]", "", told.get("context", ""))[:_MAX_TEXT],
        folder=folder,
        evidence=result.tail,
    )


def check_ground(ground: Ground, address: str) -> None:
    """Insist on a ground that bears a glibc.

    Raises:
        DeviceUnfitError: it does not; it says why and what to do.
    """
    why, hint = ground.refusal()
    if why:
        raise DeviceUnfitError(address, why, hint=hint, evidence=ground.evidence)


def check_pages(ground: Ground, files: Iterable[Path], address: str) -> None:
    """Insist on files whose segments may be mapped in the device's pages.

    Raises:
        DeviceUnfitError: one is aligned to less than a page of its.
        UsageError: one is no ELF file.
    """
    for path in files:
        aligned = alignment(path.read_bytes())
        if aligned < ground.page_bytes:
            what = f"its memory pages are of {ground.page_bytes} bytes, {path.name} is aligned to {aligned}"
            hint = "boot it with smaller pages, or bring a build that is aligned to 16 KiB or more"
            raise DeviceUnfitError(address, what, hint=hint)


def _number(told: dict[str, str], key: str) -> int:
    text = told.get(key, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004


def _selinux(text: str) -> str:
    word = {"1": "enforcing", "0": "permissive"}.get(text.strip(), text.strip().lower())
    return word if word in {"enforcing", "permissive", "disabled"} else ""
