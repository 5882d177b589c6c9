"""Android's power rails (ODPM, Pixel 6 and later): cumulative energy of each rail since boot.

By the power-stats HAL (`dumpsys`, milliwatt-seconds) or, where the user may, by sysfs (`energy_value`,
microwatt-seconds). "delta" is never asked for: it is a state that all callers share. The rails lie behind
the battery, so they hold while the phone is charged. Their names differ by model; those of the processor,
its memory and its accelerators are summed, since no rail is the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, SensorError, Term, Watch
from edgekit.probes.read import odpm_numbers

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

SERVICE = "android.hardware.power.stats.IPowerStats/default"
# The whole answer has the residencies of every state too; rails are the lines that tell energy.
METER = ("sh", "-c", f"dumpsys {SERVICE} | grep -F mWs")
_SCRIPT = f"""
if [ -z "$r" ] && command -v dumpsys >/dev/null 2>&1; then c odpm sh -c 'dumpsys {SERVICE} | grep -F mWs'; fi
for d in "$r"/sys/bus/iio/devices/iio:device*; do
  f "$d"/energy_value
  [ -r "$d"/energy_value ] && c "odpm:${{d#"$r"}}/energy_value" cat "$d"/energy_value
done
"""
_COMPUTE = re.compile(r"(?i)cpu|mif|ddr|dram|sram|[^a-z]int|gpu|g3d|tpu|npu|mem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Odpm:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "odpm"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return the sum of the computing rails: by sysfs where that may be read, else by the HAL."""
        del target
        files = {
            key.partition(":")[2]: text for key, text in told.commands.items() if key.startswith("odpm:")
        }
        rails = [rail for text in files.values() for rail in odpm_numbers(text)]
        if computing(rails):
            return [_watch(computing(rails), 1e-6, reads={path: path for path in files})]
        rails = list(odpm_numbers(told.commands.get("odpm", "")))
        if computing(rails):
            return [_watch(computing(rails), 1e-3, commands={"odpm": METER})]
        why = [
            f"{p} can't be read ({w.strip()})" for p, w in told.refused.items() if p.endswith("/energy_value")
        ]
        return [Refusal(family=self.name, reason=reason) for reason in why[:1]]


def computing(rails: list[str]) -> list[str]:
    """Return the rails that feed the processor, its memory and its accelerators."""
    return [rail for rail in dict.fromkeys(rails) if _COMPUTE.search(rail)]


def _watch(
    rails: list[str],
    scale: float,
    *,
    reads: dict[str, str] | None = None,
    commands: dict[str, tuple[str, ...]] | None = None,
) -> Watch:
    shown = ", ".join(rails[:4]) + (" ..." if len(rails) > 4 else "")  # noqa: PLR2004
    return Watch(
        family="odpm",
        source=f"ODPM, {len(rails)} rails: {shown}",
        covers="parts",
        quantity="energy",
        reads=reads or {},
        commands=commands or {},
        reader="odpm",
        terms=tuple(Term(factors=(rail,), scale=scale) for rail in rails),
        error=SensorError(gain=0.05, origin="5 % taken: its maker tells no error"),
    )
