"""Make weights, biases and ranges for 8 bits: by named methods, or by trying those that may help.

    repair    dead channels no longer stretch what all channels share; the network stays what it is
    equalize  channels of one tensor get ranges nearer to each other; the network stays what it is
    ranges    each tensor's range is cut where rounding and clipping together cost least
    pick      each tensor's range is that of the calibration method which costs its values least
    bias      biases take back what the means of the outputs have moved by
    round     weights are rounded together, for the outputs' sake

"auto" repairs, then tries the others (equalize and bias together first) on a sample of the calibration
inputs, and keeps what brings the 8-bit twin nearer to the float network. Labels are never looked at.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.methods import DEFAULT_METHOD
from edgekit.convert.observe import calibrate
from edgekit.convert.ptq.channels import channels_of
from edgekit.convert.ptq.equalize import equalized, factors_for, scaled_spans
from edgekit.convert.ptq.execute import ends_of, shapes_of
from edgekit.convert.ptq.grids import stored
from edgekit.convert.ptq.look import layers_of
from edgekit.convert.ptq.measure import cut_ranges, is_row, keeps_a_batch, picked_ranges, prints_of
from edgekit.convert.ptq.reference import Reference, reference_of
from edgekit.convert.ptq.repair import LEAST, repaired
from edgekit.convert.ptq.score import Score, score
from edgekit.convert.ptq.twin import Mending, Twin, run_twin
from edgekit.convert.ranges import PICKED
from edgekit.convert.threads import one_thread
from edgekit.convert.ties import tied
from edgekit.errors import UnknownNameError, UsageError
from edgekit.source.graph import Graph
from edgekit.source.memory import give_back
from edgekit.source.trace import to_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from edgekit.convert.calibrate import CalibrationData
    from edgekit.convert.ptq.layers import Layer
    from edgekit.convert.ranges import CalibrationRecord
    from edgekit.source import FrozenGraph

METHODS = ("repair", "equalize", "ranges", "pick", "bias", "round")
AUTO, NONE = "auto", "none"
SAMPLE = 32
"""Inputs that the methods work on, at most, evenly spread over the calibration data."""
FEWEST = 4
"""Inputs of a sample from which it can be told what helps on others."""
TOGETHER = ("ranges", "pick", "bias", "round")
"""The methods that are measured on several inputs at once."""
LOOKED_AT = 4
"""Inputs of the sample that the layers are looked at with."""
ELEMENTS = 2**24
"""Of the largest tensor of the sample, unless FEWEST have more: 64 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What tuning came to.

    Attributes:
        frozen: the graph that calibrated precisions start from.
        record: its ranges.
        methods: those that are in it, in order.
        before: the plain 8-bit twin's score.
        after: the score of what was kept.
        layers: what each stored tensor lost, in the order of computing.
        dead: how many channels are dead, by tensor.
        tried: the score of each trial, by name, in order.
        weights_alone: the score with these weights and float activations, which is what 16 bits of them come
            to; None where what was kept is not damaged.
    """

    frozen: FrozenGraph
    record: CalibrationRecord
    methods: tuple[str, ...]
    before: Score
    after: Score
    layers: tuple[Layer, ...]
    dead: Mapping[str, int]
    tried: Mapping[str, Score]
    weights_alone: Score | None = None


def known_tuning(names: Sequence[str]) -> tuple[str, ...]:
    """Return ("auto",), () for none, or methods in the order in which they are used.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: a mode and something else.
    """
    for name in names:
        if name not in (*METHODS, AUTO, NONE):
            raise UnknownNameError("tuning method", name, (*METHODS, AUTO, NONE))
    modes = [name for name in names if name in (AUTO, NONE)]
    if modes and len(set(names)) > 1:
        raise UsageError(
            f"{modes[0]} and other tuning methods exclude each other", hint="name one or the other"
        )
    if modes:
        return (AUTO,) if modes[0] == AUTO else ()
    return tuple(name for name in METHODS if name in names)


def tune(
    frozen: FrozenGraph,
    data: CalibrationData,
    record: CalibrationRecord,
    tuning: tuple[str, ...],
    tell: Callable[[str], None] | None = None,
) -> Tuned:
    """Tune a network for 8 bits.

    Args:
        frozen: the frozen graph.
        data: representative inputs.
        record: its ranges over them, just measured.
        tuning: what `known_tuning` returned.
        tell: called with what is tried.

    Raises:
        UsageError: a method that is named needs a batch, and the network mixes its inputs.
    """
    tuner = _Tuner(frozen, data, record, tell or (lambda _: None))
    with one_thread():
        found = tuner.automatic() if tuning == (AUTO,) else tuner.named(tuning)
    give_back(cycles=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A float network that gives what the source gives, its ranges, and how its twin is mended.

    The reference is what it gives on the sample; None until somebody asks.
    """

    graph: Graph
    record: CalibrationRecord
    reference: Reference | None = None
    methods: tuple[str, ...] = ()

    def also(self, name: str, **changes: Any) -> _Candidate:
        """Return one with a method more."""
        return dataclasses.replace(self, methods=(*self.methods, name), **changes)


class _Tuner:
    def __init__(
        self,
        frozen: FrozenGraph,
        data: CalibrationData,
        record: CalibrationRecord,
        tell: Callable[[str], None],
    ) -> None:
        self._frozen, self._data, self._tell = frozen, data, tell
        self._shapes = shapes_of(frozen.function)
        self._start = _Candidate(graph=Graph(frozen.graph_def, "output"), record=record)
        self._channels = channels_of(self._start.graph, self._shapes)
        self._batched = record.prints is not None and keeps_a_batch(
            self._start.graph, self._shapes, record.prints
        )
        self._sample = _sample(data.inputs if self._batched else data.inputs[:1], self._shapes)
        self._dead: dict[str, int] = {}
        self._tried: dict[str, Score] = {}

    def named(self, methods: tuple[str, ...]) -> Tuned:
        """Use these methods and no other."""
        asked = [name for name in methods if name in TOGETHER]
        if asked and not self._batched:
            source = self._frozen.source.name
            raise UsageError(
                f"{source} mixes the inputs of a batch, and {', '.join(asked)} needs several that stay apart",
                hint="leave it to --tuning auto, or name repair or equalize alone",
            )
        best, _ = self._seen(self._start)
        before, _ = self._try("plain", best)
        for name in methods:
            best = self._with(name, best)
        after, twin = self._try("+".join(methods), best) if methods else self._try("plain", best)
        return self._tuned(best, before, after, twin)

    def automatic(self) -> Tuned:
        """Keep what helps, where there are enough inputs to tell: one alone would be learned by heart."""
        repaired = self._with("repair", self._start)
        best, _ = self._seen(repaired)
        before, twin = self._try("plain", best)
        found = before
        for names in (("equalize", "bias"), ("bias",), ("pick",), ("round",)):
            if len(self._sample) < FEWEST or found.good or set(names) <= set(best.methods):
                continue
            if names == ("pick",) and best.record.method != DEFAULT_METHOD:
                continue  # another method was asked for by name
            candidate = best
            for name in names:
                candidate = self._with(name, candidate)
            reached, other = self._try("+".join(names), candidate)
            if reached.beats(found):
                best, found, twin = candidate, reached, other
        return self._tuned(best, before, found, twin)

    def _try(self, name: str, candidate: _Candidate) -> tuple[Score, Twin]:
        self._tell(name)
        mending = Mending(
            ranges=candidate.record.ranges,
            biases="bias" in candidate.methods,
            rounding="round" in candidate.methods,
        )
        _, reference = self._seen(candidate)
        twin = run_twin(candidate.graph, self._shapes, self._sample, mending, reference)
        self._tried[name] = score(twin.wanted, twin.got)
        return self._tried[name], twin

    def _layers(self, best: _Candidate, constants: Mapping[str, np.ndarray[Any, Any]]) -> list[Layer]:
        """Return what each stored tensor loses in the end."""
        some, ranges = self._sample[:LOOKED_AT], best.record.ranges
        return layers_of(best.graph, self._shapes, some, ranges, constants, biased="bias" in best.methods)

    def _weights_alone(self, graph: Graph, wanted: np.ndarray[Any, Any]) -> Score:
        """Return the score with float activations: what is lost whatever they are given."""
        return score(wanted, reference_of(graph, self._shapes, self._sample).outputs)

    def _seen(self, candidate: _Candidate) -> tuple[_Candidate, Reference]:
        """Return a candidate with what it gives on the sample."""
        if candidate.reference is not None:
            return candidate, candidate.reference
        names = candidate.record.spans if self._batched else ()
        found = reference_of(candidate.graph, self._shapes, self._sample, names)
        return dataclasses.replace(candidate, reference=found), found

    def _with(self, name: str, candidate: _Candidate) -> _Candidate:
        make = {
            "repair": self._repaired,
            "equalize": self._equalized,
            "ranges": self._ranged,
            "pick": self._picked,
        }
        return make[name](candidate) if name in make else candidate.also(name)

    def _repaired(self, candidate: _Candidate) -> _Candidate:
        if self._data.count < LEAST:
            return candidate
        spans = candidate.record.spans
        constants, self._dead = repaired(candidate.graph, self._channels, spans)
        if not constants:
            return candidate
        graph = changed(candidate.graph, constants)
        record = self._measured(graph, candidate.record)
        return candidate.also("repair", graph=graph, record=record, reference=None)

    def _equalized(self, candidate: _Candidate) -> _Candidate:
        record = candidate.record
        factors = factors_for(
            candidate.graph, self._channels, record.spans, stored(candidate.graph, record.ranges)
        )
        if not factors.changed:
            return candidate
        graph = changed(candidate.graph, equalized(candidate.graph, factors))
        reference = self._seen(candidate)[1].scaled(factors)
        if record.method != "minmax":
            again = self._measured(graph, record)
            return candidate.also("equalize", graph=graph, record=again, reference=reference)
        spans = scaled_spans(record.spans, factors)
        ranges = {n: (float(low.min()), float(high.max())) for n, (low, high) in spans.items()}
        ranges["input"] = record.ranges["input"]
        ranges = tied(self._frozen.graph_def, ranges)
        means = scaled_spans(record.means, factors)
        record = dataclasses.replace(record, ranges=ranges, spans=spans, means=means)
        return candidate.also("equalize", graph=graph, record=record, reference=reference)

    def _ranged(self, candidate: _Candidate) -> _Candidate:
        candidate, reference = self._seen(candidate)
        ranges = cut_ranges(reference.samples, candidate.record, self._frozen.graph_def)
        return candidate.also(
            "ranges", record=dataclasses.replace(candidate.record, ranges=ranges, method="mse")
        )

    def _picked(self, candidate: _Candidate) -> _Candidate:
        candidate, reference = self._seen(candidate)
        ends = ends_of(candidate.graph)  # their largest values are the answers: nothing is cut off
        held = stored(candidate.graph, reference.samples) - ends
        samples = {name: values for name, values in reference.samples.items() if name in held}
        ranges, _ = picked_ranges(samples, candidate.record, self._frozen.graph_def)
        record = dataclasses.replace(candidate.record, ranges=ranges, method=PICKED)
        return candidate.also("pick", record=record)

    def _measured(self, graph: Graph, like: CalibrationRecord) -> CalibrationRecord:
        return calibrate(_refrozen(self._frozen, graph), self._data, like.method)

    def _tuned(self, best: _Candidate, before: Score, after: Score, twin: Twin) -> Tuned:
        graph = changed(best.graph, twin.constants)
        like = best.record.prints
        rows = like is not None and all(is_row(self._shapes, name) for name in like.sizes)
        batch = None if self._batched and rows else 1
        prints = None if like is None else prints_of(graph, self._shapes, like, batch=batch)
        return Tuned(
            frozen=_refrozen(self._frozen, graph),
            record=dataclasses.replace(best.record, prints=prints),
            methods=best.methods,
            before=before,
            after=after,
            layers=tuple(self._layers(best, twin.constants)),
            dead=self._dead,
            tried=self._tried,
            weights_alone=self._weights_alone(graph, twin.wanted) if after.damaged else None,
        )


def changed(graph: Graph, constants: Mapping[str, np.ndarray[Any, Any]]) -> Graph:
    """Return a graph with other second operands, by the node that reads them."""
    if not constants:
        return graph
    found = graph.copy()
    for name, value in constants.items():
        found.nodes[name].input[1] = found.add_constant(f"{name}/tuned", value)
    found.prune()
    return found


def _refrozen(frozen: FrozenGraph, graph: Graph) -> FrozenGraph:
    import numpy as np

    graph_def = graph.to_graph_def()
    weights = {name: (op, np.asarray(value, np.float32)) for name, op, value in graph.weights()}
    return dataclasses.replace(
        frozen, graph_def=graph_def, function=to_function(graph_def), weights=weights, tuned=True
    )


def _sample(inputs: np.ndarray[Any, Any], shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray[Any, Any]:
    import numpy as np

    largest = max(int(np.prod(shape)) for shape in shapes.values() if shape)
    count = min(SAMPLE, len(inputs), max(FEWEST, ELEMENTS // largest))
    return inputs[[index * len(inputs) // count for index in range(count)]]
