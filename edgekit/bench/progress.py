"""How far a bench has come, for who shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a bench has come.

    Attributes:
        device: where.
        recipe: what, or "" while the device itself is at work.
        phase: "connect", "prepare", "cool", "run", "saved" or "failed".
        index: which item of the plan, from 1 on; 0 while the device itself is at work.
        items: how many the plan has.
        done: timed invocations so far.
        total: how many were asked for.
        note: what there is to see meanwhile: the temperature while it cools.
    """

    device: str
    recipe: str
    phase: str
    index: int
    items: int
    done: int
    total: int
    note: str = ""

    def __str__(self) -> str:
        words = {
            "connect": "connecting",
            "prepare": "bringing the runtime",
            "run": "running",
            "cool": "cooling",
        }
        what = f" {self.recipe} ({self.index} of {self.items})" if self.recipe else ""
        return f"{self.device}: {words.get(self.phase, self.phase)}{what}{self.note}"
