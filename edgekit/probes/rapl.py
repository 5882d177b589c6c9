"""RAPL: the energy counters of Intel's and AMD's processors, by the kernel's powercap class.

`energy_uj` counts microjoules and begins anew after `max_energy_range_uj`. Since 2020 only root may read it
(CVE-2020-8694). A package holds its cores; the memory beside it (dram) is added; psys is the whole platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, SensorError, Term, Watch

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

_SCRIPT = r"""
for d in "$r"/sys/class/powercap/*:*; do f "$d"/name "$d"/energy_uj "$d"/max_energy_range_uj; done
"""
_PATTERN = "/sys/class/powercap/intel-rapl:*/energy_uj"
_INTERVAL_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Rapl:
    """The family.

    Attributes:
        root: where the device's / is; "" but in tests.
        name: the family's.
    """

    root: str = ""
    name: str = "rapl"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return psys and the sum of packages and memory, where they may be read."""
        del target
        zones = {told.text(path.replace("/energy_uj", "/name")): path for path in told.match(_PATTERN)}
        zones = {name: path for name, path in zones.items() if name and told.number(path) is not None}
        parts = {n: p for n, p in zones.items() if n.startswith(("package", "dram"))}
        groups = [({"psys": zones["psys"]}, "board")] if "psys" in zones else []
        groups += [(parts, "parts")] if parts else []
        found: list[Watch | Refusal] = [_watch(told, group, covers) for group, covers in groups]
        denied = [
            p for p in told.refused if p.startswith("/sys/class/powercap/") and p.endswith("/energy_uj")
        ]
        if denied and not found:
            why = f"{denied[0]} can't be read ({told.refused[denied[0]].strip()}): only root may, by default"
            found.append(Refusal(family=self.name, reason=why))
        return found


def _watch(told: Told, zones: dict[str, str], covers: str) -> Watch:
    ranges = {n: told.number(p.replace("/energy_uj", "/max_energy_range_uj")) for n, p in zones.items()}
    return Watch(
        family="rapl",
        source=f"RAPL {' + '.join(zones)}",
        covers=covers,
        quantity="energy",
        reads=zones,
        terms=tuple(Term(factors=(n,), scale=1e-6, wrap=ranges[n] or 0.0) for n in zones),
        error=SensorError(gain=0.05, lsb_w=0.0, origin="5 % taken: its maker tells no error"),
        interval_s=_INTERVAL_S,
    )
