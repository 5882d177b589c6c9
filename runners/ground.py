"""What a device lets a pushed program do: asked of it before anything is pushed, in one round trip.

What matters to a glibc that is brought along: that EdgeKit's folder is not mounted noexec and no policy
forbids to execute what lies there, and that no filter of system calls is on, for Android's kills glibc's
loader at `set_robust_list` and `rseq`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceUnfitError, ProtocolError

if TYPE_CHECKING:
    from edgekit.runners.facts import Facts
    from edgekit.runners.transport import Transport

_MAX_TEXT = 120
# A folder that was not there is not there afterwards.
_PROBE = r"""
umask 077
echo 'edgekit-ground 1'
echo "seccomp $(grep '^Seccomp:' /proc/self/status | tr -dc 0-9)"
echo "context $(cat /proc/self/attr/current 2>/dev/null | tr -d '\000')"
top=$1; while [ -n "${top%/*}" ] && [ ! -d "${top%/*}" ]; do top=${top%/*}; done
had=; [ -d "$1" ] && had=1
f="$1/exec-$$"
mkdir -p -- "$1" && printf '#!%s\nexit 0\n' "$(command -v sh)" >"$f" && chmod 700 "$f" &&
  "$f" && echo 'exec yes'
rm -f -- "$f"
d=$1
while [ -z "$had" ] && rmdir -- "$d" && [ "$d" != "$top" ]; do d=${d%/*}; done
echo end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a device told.

    Attributes:
        runs: whether a program in EdgeKit's folder may be executed.
        seccomp: 0 without a filter of system calls, 1 strict, 2 with one; None where it does not tell.
        context: what SELinux takes the shell for, or "".
        folder: EdgeKit's there.
        evidence: the answer.
    """

    runs: bool
    seccomp: int | None
    context: str
    folder: str
    evidence: str = ""

    def refusal(self, facts: Facts) -> tuple[str, str]:
        """Return why a glibc that is brought along can't run there and the next step, or ("", "")."""
        if self.seccomp != 0:
            mode = "is not known" if self.seccomp is None else f"is {self.seccomp}, a filter is on"
            why = f"its seccomp mode {mode}; such a filter kills glibc's loader (set_robust_list, rseq)"
            return why, "reach a phone by adb, whose shell has no filter; an app's shell has one"
        if not self.runs:
            policy = f"; SELinux is {facts.selinux} there, for {self.context or 'a shell unnamed'}"
            why = f"nothing may be executed in {self.folder}{policy if facts.selinux else ''}"
            return why, "log in as a user who may: a phone by adb, a board with a home that is not noexec"
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
    seccomp = told.get("seccomp", "")
    return Ground(
        runs=told.get("exec") == "yes",
        seccomp=int(seccomp) if seccomp in {"0", "1", "2"} else None,
        context=re.sub(r"[^A-Za-z0-9_:,.-]", "", told.get("context", ""))[:_MAX_TEXT],
        folder=folder,
        evidence=result.tail,
    )


def check_ground(ground: Ground, facts: Facts, address: str) -> None:
    """Insist on a ground that bears a glibc.

    Raises:
        DeviceUnfitError: it does not; it says why and what to do.
    """
    why, hint = ground.refusal(facts)
    if why:
        raise DeviceUnfitError(address, why, hint=hint, evidence=ground.evidence)
