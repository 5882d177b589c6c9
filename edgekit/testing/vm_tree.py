"""The virtual board's device tree: QEMU's own, and operating points, so that Linux's cpufreq-dt drives it.

QEMU's `virt` machine has no frequencies to choose from. With a table of operating points and a clock in its
device tree the kernel's stock driver offers governors and limits as on a board; the clock is a fixed one, so
that the speed stays what it is.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL = "EdgeKit virtual board (QEMU)"
FREQUENCIES_KHZ = (600_000, 1_000_000, 1_400_000, 1_800_000)
_CLOCK = """
    board_clock: board-clock {{
        compatible = "fixed-clock";
        #clock-cells = <0>;
        clock-frequency = <{hz}>;
    }};
    board_points: board-points {{
        compatible = "operating-points-v2";
        opp-shared;
{points}
    }};
"""
_POINT = "        opp-{hz} {{ opp-hz = /bits/ 64 <{hz}>; clock-latency-ns = <100000>; }};"
_EACH_CPU = "\n clocks = <&board_clock>; operating-points-v2 = <&board_points>; #cooling-cells = <2>;"


def make_tree(machine: Sequence[str], work: Path) -> None:
    """Write `board.dtb` into a folder.

    Args:
        machine: QEMU's program and the options that name its machine, processor and memory; the first of
            them after `-M` gets the order to write its device tree.
        work: the folder.

    Raises:
        UsageError: QEMU or the device tree compiler failed.
    """
    raw, edited, made = work / "virt.dtb", work / "board.dts", work / "board.dtb"
    place = machine.index("-M") + 1
    argv = [*machine[:place], f"{machine[place]},dumpdtb={raw}", *machine[place + 1 :]]
    _call([*argv, "-display", "none", "-nic", "none"])
    source = _call(["dtc", "-q", "-I", "dtb", "-O", "dts", str(raw)])
    edited.write_text(edit(source))
    _call(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(made), str(edited)])


def edit(source: str) -> str:
    """Return a device tree's source with the board's name, its clock and its operating points.

    Raises:
        UsageError: it has no processors where they are expected.
    """
    points = "\n".join(_POINT.format(hz=khz * 1000) for khz in FREQUENCIES_KHZ)
    clock = _CLOCK.format(hz=FREQUENCIES_KHZ[-1] * 1000, points=points)
    named = re.sub(r'model = "[^"]*";', f'model = "{MODEL}";', source, count=1)
    clocked, cpus = re.subn(r"\bcpu@\d+ \{", lambda found: found[0] + _EACH_CPU, named)
    told, tables = re.subn(r"\n\s*cpus \{", lambda found: clock + found[0], clocked)
    if not cpus or tables != 1:
        raise UsageError("QEMU's device tree names no processors", evidence=source[:2000])
    return told


def _call(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UsageError(f"{argv[0]} ended with {done.returncode}: {last}", evidence=done.stderr)
    return done.stdout
