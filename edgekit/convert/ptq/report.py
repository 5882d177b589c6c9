"""What a user is told of quantization: what was done, what it gained, what is still lost and what helps.

It lies in the bundle as `quantization.json`, beside the calibration record that the same call wrote.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from edgekit.artifact import checked
from edgekit.convert.beside import read_beside
from edgekit.convert.ptq.layers import Layer
from edgekit.convert.ptq.score import Score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgekit.convert.ptq.tune import Tuned

REPORT = "quantization.json"
"""The report's file in a bundle."""
SCHEMA = 1
WORST = 5
"""So many layers are named where there is no room for all."""
FEW = 10
"""Calibration inputs: with fewer, more than one new input in ten is expected beyond any one range."""
_CUT = 0.01
"""Of a tensor's values beyond its range: 1 in 100 is worth a word."""
_FAR = 3 * 1.4826
"""Median absolute deviations that make an outlier: three standard deviations of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What 8 bits cost a network, measured on calibration inputs without labels.

    Attributes:
        calibration_sha256: of the calibration data.
        calibration_count: how many inputs they are.
        calibration_method: how the ranges were found.
        tuning: what was asked for: ("auto",), or methods' names; () for none.
        methods: what is in the weights and ranges, in order.
        before: how near plain 8 bits come to the float network.
        after: the same of what was kept.
        tried: of each trial, in order.
        weights_alone: of 8-bit weights with float activations; None where `after` is not damaged.
        dead: how many channels hold one value whatever the input, by tensor.
        layers: what each tensor that is stored in 8 bits lost, in the order of computing.
        schema: of quantization.json.
    """

    calibration_sha256: str
    calibration_count: int
    calibration_method: str
    tuning: tuple[str, ...]
    methods: tuple[str, ...]
    before: Score
    after: Score
    tried: Mapping[str, Score]
    layers: tuple[Layer, ...]
    weights_alone: Score | None = None
    dead: Mapping[str, int] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def of(cls, tuned: Tuned, tuning: tuple[str, ...]) -> Self:
        """Return the report of what tuning came to, when `tuning` was asked for."""
        alone = tuned.weights_alone
        return cls(
            calibration_sha256=tuned.record.sha256,
            calibration_count=tuned.record.count,
            calibration_method=tuned.record.method,
            tuning=tuning,
            methods=tuned.methods,
            before=_rounded(tuned.before),
            after=_rounded(tuned.after),
            tried={name: _rounded(score) for name, score in tuned.tried.items()},
            layers=tuple(_plain(layer) for layer in tuned.layers),
            weights_alone=None if alone is None else _rounded(alone),
            dead=dict(tuned.dead),
        )

    def worst(self, count: int = WORST) -> list[Layer]:
        """Return the layers to which 8 bits do most, the worst first."""
        return sorted(self.layers, key=lambda layer: layer.total_db)[:count]

    def gains(self) -> dict[str, float | None]:
        """Return what each method, or several tried together, gained in dB; None where nobody measured."""
        found: dict[str, float | None] = {}
        reached, told = self.before.snr_db, set()
        for name, score in self.tried.items():
            names = name.split("+")
            if set(names) <= set(self.methods):
                found["+".join(n for n in names if n not in told)] = round(score.snr_db - reached, 3)
                reached = score.snr_db
                told.update(names)
        return {**{name: None for name in self.methods if name not in told}, **found}

    def left(self) -> list[str]:
        """Return the methods that were tried and are not in."""
        tried = {name for names in self.tried for name in names.split("+")}
        return sorted(tried - {"plain", ""} - set(self.methods))

    def advice(self, layer: Layer) -> str:
        """Return what would help a layer, or "" where it is like the others."""
        if layer.saturated > _CUT:
            cut = "" if self.calibration_method == "minmax" else f" ({self.calibration_method} cuts it)"
            return f"values leave its range{cut}: calibrate on more typical inputs"
        if layer.drowned:
            lost = f"{layer.drowned:.0%} of its channels drown where others stretch the range"
            more = "" if "equalize" in self.methods else "; --tuning equalize may too"
            return f"{lost}: 16-bit activations (tflite-w8a16) or fp16 keep them{more}"
        if layer.total_db >= self._usual():
            return ""
        if layer.weights_snr_db is not None and layer.weights_snr_db < layer.own_snr_db:
            more = "" if "round" in self.methods else ", or --tuning round"
            return f"its weights lose far more than others: fp16 keeps them{more}"
        return "few values stretch its range: 16-bit activations (tflite-w8a16) or fp16 keep the others"

    def _usual(self) -> float:
        """Return the least signal to noise, in dB, that is not far below that of other layers."""
        values = [layer.total_db for layer in self.layers if layer.total_db < _CUT_OFF_DB]
        if not values:
            return float("-inf")
        middle = statistics.median(values)
        return middle - _FAR * statistics.median(abs(value - middle) for value in values)

    def way_out(self) -> str:
        """Return the worst layers of a damaged network, and what to do about it."""
        return f"worst layers: {', '.join(layer.tensor for layer in self.worst(3))}; {self._next_step()}"

    def _next_step(self) -> str:
        if not self.tuning:
            return "let --tuning auto work on it"
        alone = self.weights_alone
        if alone is None:
            step = "use tflite-w8a16 or fp16"
        elif alone.damaged:
            step = f"use fp16 (16-bit activations do not mend it: {_told(alone)})"
        else:
            step = f"use tflite-w8a16 (16-bit activations: {_told(alone)}) or fp16"
        return f"{step}, or calibrate on other, more typical inputs"

    def warnings(self) -> tuple[str, ...]:
        """Return what a user must know, a sentence each."""
        found = []
        if self.after.damaged:
            found.append(f"8 bits damage this network: {_told(self.after)}; {self.way_out()}")
        if self.calibration_count < FEW:
            count = self.calibration_count
            found.append(
                f"{count} calibration input{'s' * (count > 1)} can't tell ranges: expect 1 in {count + 1} "
                "new ones beyond any one of them; give 100 typical inputs"
            )
        return tuple(found)

    def summary(self) -> dict[str, Any]:
        """Return the report without most of its layers, as JSON's types."""
        data = asdict(self)
        del data["layers"], data["schema"]
        worst = [
            {**asdict(layer), "total_snr_db": round(layer.total_db, 3), "advice": self.advice(layer)}
            for layer in self.worst()
        ]
        return {
            **data,
            "gains_db": self.gains(),
            "damaged": self.after.damaged,
            "layers": len(self.layers),
            "worst": worst,
        }

    def to_json(self) -> bytes:
        """Return the report as the text of quantization.json."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def load(cls, bundle: Path) -> Self:
        """Read the report of a bundle.

        Raises:
            UsageError: it has none, or one that can't be read.
        """
        return read_beside(
            bundle / REPORT,
            "quantization report",
            SCHEMA,
            lambda data: cls(**_typed(checked(cls, data, REPORT))),
        )


_CUT_OFF_DB = 100.0
"""Beyond it nothing is lost: a tensor that only moves values."""


def _told(score: Score) -> str:
    return (
        f"the float network's answer on {round(score.agreement * score.count)} of {score.count} calibration "
        f"inputs, signal to noise {score.snr_db:.1f} dB"
    )


def _rounded(score: Score) -> Score:
    return replace(score, snr_db=-200.0 if math.isnan(score.snr_db) else round(score.snr_db, 3))


def _plain(layer: Layer) -> Layer:
    weights = layer.weights_snr_db
    return replace(
        layer,
        snr_db=round(layer.snr_db, 3),
        own_snr_db=round(layer.own_snr_db, 3),
        saturated=round(layer.saturated, 6),
        drowned=round(layer.drowned, 6),
        weights_snr_db=None if weights is None else round(weights, 3),
    )


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """Return the report's fields in their own types."""
    alone = data.get("weights_alone")
    return {
        **data,
        "tuning": tuple(data["tuning"]),
        "methods": tuple(data["methods"]),
        "before": Score(**checked(Score, data["before"], "before")),
        "after": Score(**checked(Score, data["after"], "after")),
        "tried": {n: Score(**checked(Score, s, f"tried {n}")) for n, s in data["tried"].items()},
        "weights_alone": None if alone is None else Score(**checked(Score, alone, "weights_alone")),
        "layers": tuple(Layer(**checked(Layer, row, "layers")) for row in data["layers"]),
        "dead": {str(name): int(count) for name, count in data["dead"].items()},
    }
