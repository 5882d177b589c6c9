"""What a conversion and a verification return."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.artifact import Parity
    from edgekit.bundle import Bundle
    from edgekit.convert.ptq.report import QuantizationReport
    from edgekit.errors import ConversionError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A recipe that came to nothing; no file of it was written.

    Attributes:
        recipe: its name.
        error: why.
    """

    recipe: str
    error: ConversionError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertResult:
    """What a conversion came to.

    Attributes:
        bundle: the bundle as it is now; None when every recipe failed and there was none before.
        failed: the recipes that failed, in order.
        seconds: how long each recipe took, proof included, by name; "freeze", "golden" and "calibrate" are
            shared by all.
        warnings: what is doubtful about the calibration data and about what 8 bits left, a sentence each.
        made: the recipes that were made now.
        kept: the recipes that were there already, made from the same inputs.
        quantization: what 8 bits cost, measured now or when the artifacts were made; None where no recipe is
            calibrated.
    """

    bundle: Bundle | None
    failed: tuple[Failure, ...]
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    quantization: QuantizationReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON's types."""
        artifacts = () if self.bundle is None else self.bundle.artifacts
        keys = ("recipe", "format", "precision", "path", "sha256", "size_bytes", "parity", "provenance")
        return {
            "schema": SCHEMA,
            "bundle": None if self.bundle is None else str(self.bundle.root),
            "fused_preprocessing": None if self.bundle is None else self.bundle.fused,
            "artifacts": [
                {**{key: a.to_json()[key] for key in keys}, "made": a.recipe in self.made} for a in artifacts
            ],
            "kept": list(self.kept),
            "failed": [{"recipe": f.recipe, "error": str(f.error)} for f in self.failed],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "warnings": list(self.warnings),
            "quantization": None if self.quantization is None else self.quantization.summary(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How an artifact does on labelled images.

    Attributes:
        count: how many images.
        top1: the share whose largest output is their label.
        agreement: the share whose largest output is that of the bundle's fp32 artifact; None without one.
    """

    count: int
    top1: float
    agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One artifact, checked again.

    Attributes:
        recipe: its name.
        files: whether its bytes are those of the bundle's manifest.
        parity: measured now on the golden inputs; None where this host can't run it.
        accuracy: on labelled images, when they were given.
        problem: what is wrong, or "".
        note: what was proved, in a few words.
    """

    recipe: str
    files: bool
    parity: Parity | None = None
    accuracy: Accuracy | None = None
    problem: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.files and not self.problem

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON's types."""
        return {**asdict(self), "ok": self.ok}

    def cells(self) -> tuple[str, ...]:
        """Return the row as text: recipe, files, SNR, same top-1, accuracy, agreement, result."""
        parity, accuracy = self.parity, self.accuracy
        return (
            self.recipe,
            "ok" if self.files else "changed",
            "-" if parity is None else f"{parity.snr_db:.1f} dB",
            "-" if parity is None else f"{parity.top1_agreement:.0%}",
            "-" if accuracy is None else f"{accuracy.top1:.1%} of {accuracy.count}",
            "-" if accuracy is None or accuracy.agreement is None else f"{accuracy.agreement:.1%}",
            self.problem or self.note or "ok",
        )
