"""The Raspberry Pi 5's PMIC: `vcgencmd pmic_read_adc`, amperes and volts of every rail behind it.

The rails lie behind the converters: what those lose, and what USB devices and HATs draw from the 5 V input,
is not among them, so the sum is less than the board draws. A line reads

    VDD_CORE_A current(7)=1.23456000A        VDD_CORE_V volt(15)=0.87654000V
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.probes.base import Refusal, SensorError, Term, Watch
from edgekit.probes.chips import limit_w
from edgekit.probes.read import pmic_numbers

if TYPE_CHECKING:
    from edgekit.probes.ask import Told
    from edgekit.targets import Target

_SCRIPT = '[ -n "$r" ] || c pmic vcgencmd pmic_read_adc\nf "$r"/dev/vcio\n'
_INTERVAL_S = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pmic:
    """The family.

    Attributes:
        name: the family's.
    """

    name: str = "pmic"

    def script(self) -> str:
        """Return the lines of shell."""
        return _SCRIPT

    def find(self, told: Told, target: Target | None) -> list[Watch | Refusal]:
        """Return the sum over all rails that tell both current and voltage."""
        text = told.commands.get("pmic", "")
        if not text:
            return []
        numbers = pmic_numbers(text)
        rails = [n[:-2] for n in numbers if n.endswith("_A") and f"{n[:-2]}_V" in numbers]
        if not rails:
            said = " ".join(text.split())[:120]
            return [Refusal(family=self.name, reason=f"vcgencmd pmic_read_adc tells no rails ({said})")]
        watch = Watch(
            family=self.name,
            source=f"Raspberry Pi PMIC, {len(rails)} rails (without converter losses, USB and HATs)",
            covers="parts",
            commands={"pmic": ("vcgencmd", "pmic_read_adc")},
            reader="pmic",
            terms=tuple(Term(factors=(f"{rail}_A", f"{rail}_V"), scale=1.0) for rail in rails),
            error=SensorError(gain=0.05, origin="5 % taken: its maker tells no error"),
            interval_s=_INTERVAL_S,
            limit_w=limit_w(0.0, target.supply_w if target else None),
        )
        return [watch]
