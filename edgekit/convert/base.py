"""What a converter is, what it works on, and the registry of formats."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgekit.errors import ConversionError, UnknownNameError
from edgekit.plugins import Registry
from edgekit.recipe import CALIBRATED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.artifact import TensorSpec
    from edgekit.convert.calibrate import CalibrationData
    from edgekit.convert.ptq.report import QuantizationReport
    from edgekit.convert.ptq.tune import Tuned
    from edgekit.convert.ranges import CalibrationRecord
    from edgekit.convert.swap import Slot
    from edgekit.source import FrozenGraph

    Swap = Callable[[Any, Sequence[Slot]], Any]


@dataclass(slots=True, kw_only=True)
class Work:
    """One call's work: what every recipe starts from, and what recipes of one format share.

    Attributes:
        frozen: the frozen graph.
        calibration: representative inputs, or None.
        record: the activation ranges of the float graph over them; None where no recipe needs any.
        tuned: the frozen graph with weights made for integers, whose ranges the record then holds; None where
            nothing was tuned.
        tuning: how they were made, and what is still lost.
        report: what a user is told of that.
        shared: what was made once and is used again (the float .tflite, activation ranges), by name; or a
            Future of it.
    """

    frozen: FrozenGraph
    calibration: CalibrationData | None = None
    record: CalibrationRecord | None = None
    tuned: FrozenGraph | None = None
    tuning: Tuned | None = None
    report: QuantizationReport | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def recorded(self) -> CalibrationRecord:
        """The calibration record.

        Raises:
            ConversionError: nothing was calibrated.
        """
        if self.record is None:
            raise ConversionError("this precision needs calibration data")
        return self.record

    @property
    def for_integers(self) -> FrozenGraph:
        """What a calibrated precision is made from: the record's ranges are those of this graph."""
        return self.frozen if self.tuned is None else self.tuned

    def start(self, precision: str) -> FrozenGraph:
        """Return the graph that a precision is made from."""
        return self.for_integers if precision in CALIBRATED else self.frozen

    def float_once(
        self, name: str, precision: str, make: Callable[[FrozenGraph], Any], swap: Swap | None = None
    ) -> Any:
        """Return a format's float form of the graph that a precision starts from; each is made once.

        Args:
            name: of the form.
            precision: what is made of it.
            make: converts a graph.
            swap: gives the frozen graph's form the tuned graph's constants; the tuned graph is converted
                where that can't be done, and where there is no `swap`.
        """
        if self.start(precision) is self.frozen:
            return self.once(name, lambda: make(self.frozen))
        return self.once(f"{name} tuned", lambda: self._tuned(name, make, swap))

    def _tuned(self, name: str, make: Callable[[FrozenGraph], Any], swap: Swap | None) -> Any:
        found = None
        if swap is not None:
            from edgekit.convert.swap import slots

            constants = self.once("slots", lambda: slots(self.frozen, self.for_integers))
            if constants is not None:
                found = swap(self.once(name, lambda: make(self.frozen)), constants)
        return make(self.for_integers) if found is None else found

    @property
    def samples(self) -> np.ndarray[Any, Any]:
        """The calibration inputs, float32, N x the input's shape without its batch.

        Raises:
            ConversionError: there are none.
        """
        if self.calibration is None:
            raise ConversionError("this precision needs calibration data")
        return self.calibration.inputs

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` returned the first time it was asked for under this name."""
        if name not in self.shared:
            self.shared[name] = make()
        found = self.shared[name]
        return found.result() if isinstance(found, Future) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a converter wrote.

    Attributes:
        inputs: the artifact's inputs.
        outputs: the artifact's outputs.
        provenance: options and findings worth keeping, by name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)


class Converter(Protocol):
    """One format: writes artifacts, and runs or inspects them on the host."""

    suffix: str
    """Of the artifact's file or folder, with its dot."""

    libraries: tuple[str, ...]
    """The distributions whose versions go into the provenance."""

    def convert(self, work: Work, precision: str, path: Path) -> Made:
        """Write an artifact.

        Raises:
            ConversionError: the format can't express the network; the operation is named.
        """
        ...

    def run(self, path: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Run an artifact on the host, two threads at most.

        Args:
            path: the artifact.
            inputs: float32, N x the input's shape without its batch.

        Returns:
            float32, N x the output's shape without its batch, quantized values made real; None where this
            host can't run the format.
        """
        ...

    def inspect(self, work: Work, precision: str, path: Path) -> str:
        """Hold an artifact's structure against the frozen graph; return what was proved, in a few words.

        Raises:
            ConversionError: the structure is not what was asked for.
        """
        ...


CONVERTERS: Registry[Converter] = Registry("format", refuse=UnknownNameError, group="edgekit.converters")
"""The formats by name. Other packages add theirs by the entry point "edgekit.converters"."""

for _name, _place in (
    ("tflite", "edgekit.convert.tflite:CONVERTER"),
    ("onnx", "edgekit.convert.onnx:CONVERTER"),
    ("coreml", "edgekit.convert.coreml:CONVERTER"),
):
    CONVERTERS.add(_name, _place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Progress of a conversion or a verification.

    Attributes:
        recipe: the recipe at work, or "" for what all share.
        phase: "freeze", "golden", "calibrate", "tune", "convert", "prove", "write", "verify"
            or "accuracy", or
            "kept" of a recipe that is not made again.
        seconds: how long the phase took; None when it begins or is under way.
        done: how many inputs of a phase that is under way are done.
        total: how many there are; 0 where nobody counts.
    """

    recipe: str
    phase: str
    seconds: float | None = None
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        took = "" if self.seconds is None else f" ({self.seconds:.1f} s)"
        return f"{self.phase} {self.recipe}".strip() + took


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of distributions; one that is absent is left out."""
    from importlib import metadata

    found = {}
    for library in libraries:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
