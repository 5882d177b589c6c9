"""A tuned graph's constants in the place of the frozen one's give what converting the tuned graph gives."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.convert import CONVERTERS, from_array
from edgekit.convert.base import Work
from edgekit.convert.observe import calibrate
from edgekit.convert.preprocess import noise
from edgekit.convert.ptq.tune import changed
from edgekit.convert.swap import Slot, replacements, slots
from edgekit.source import freeze, load_source
from edgekit.source.graph import Graph, node_of
from edgekit.source.quiet import quiet
from edgekit.source.trace import to_function

pytestmark = pytest.mark.convert
MAKERS = {"tflite": "_float_file", "onnx": "_float_proto", "coreml": "float_program"}
PRECISIONS = {"tflite": "int8", "onnx": "int8", "coreml": "w8a8"}
NETWORKS = ("mobilenet_v2_0.35", "squeezenet_1.1")


def tuned_of(frozen, change):
    """Return the frozen graph with `change(value, number)` of each second operand that is a float."""
    graph = Graph(frozen.graph_def, "output")
    constants = {}
    for name in graph.order():
        inputs = graph.nodes[name].input
        value = graph.constants.get(node_of(inputs[1])) if len(inputs) > 1 else None
        if value is not None and value.dtype == np.float32:
            constants[name] = change(value, len(constants))
    graph_def = changed(graph, constants).to_graph_def()
    return dataclasses.replace(frozen, graph_def=graph_def, function=to_function(graph_def), tuned=True)


def stretched(value, number):
    """Each output channel by another factor, each constant by another sum."""
    factors = np.linspace(0.8, 1.2, value.shape[-1], dtype=np.float32)
    return (value * factors + np.float32(1e-4) * (number + 1)).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def work(request):
    """Return a function that gives a fresh Work of one network, tuned."""
    with quiet():
        frozen = freeze(load_source(request.param, resolution=32, classes=10))
        tuned = tuned_of(frozen, stretched)
        inputs = noise(frozen.source.input, frozen.source.preprocessing, 8, seed=2)
        data = from_array(inputs, origin="noise")
        record = calibrate(tuned, data, "minmax")
    return lambda: Work(frozen=frozen, tuned=tuned, calibration=data, record=record)


@pytest.fixture
def converted(monkeypatch):
    """Count what is converted anew, and let it be the tuned graph where asked for."""
    calls = []
    for name, maker in MAKERS.items():
        module = importlib.import_module(f"edgekit.convert.{name}")
        make = getattr(module, maker)

        def counted(frozen, *rest, make=make):
            calls.append("tuned" if frozen.tuned else "frozen")
            return make(frozen, *rest)

        monkeypatch.setattr(module, maker, counted)

    def convert(given, name, path, *, swap):
        calls.clear()
        with quiet(), monkeypatch.context() as patch:
            if not swap:
                patch.setattr("edgekit.convert.swap.slots", lambda *_: None)
            CONVERTERS.get(name).convert(given, PRECISIONS[name], path)
            outputs = CONVERTERS.get(name).run(path, given.samples[:4])
        return outputs, tuple(calls)

    return convert


@pytest.mark.parametrize("name", MAKERS)
def test_swapping_gives_what_converting_gives(name, work, converted, tmp_path):
    suffix = CONVERTERS.get(name).suffix
    ours, theirs = tmp_path / f"swapped{suffix}", tmp_path / f"converted{suffix}"
    swapped, calls = converted(work(), name, ours, swap=True)
    assert calls == ("frozen",)
    wanted, calls = converted(work(), name, theirs, swap=False)
    assert calls == ("tuned",)
    np.testing.assert_array_equal(swapped, wanted)
    assert digest(ours)[1] == pytest.approx(digest(theirs)[1], rel=0.01)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_not_certain_is_converted_again(name, source, calibration, converted, tmp_path):
    """All biases were 0, and a format leaves out what is 0 or makes it itself."""
    with quiet():
        same = tuned_of(freeze(source), lambda value, _: np.zeros_like(value) if value.ndim == 1 else value)
        frozen = dataclasses.replace(same, tuned=False)
        tuned = tuned_of(frozen, stretched)
        record = calibrate(tuned, calibration, "minmax")
    given = Work(frozen=frozen, tuned=tuned, calibration=calibration, record=record)
    path = tmp_path / f"a{CONVERTERS.get(name).suffix}"
    _, calls = converted(given, name, path, swap=True)
    assert calls == ("frozen", "tuned")


def test_a_graph_of_other_operations_has_no_slots(source):
    with quiet():
        frozen = freeze(source)
        graph = Graph(frozen.graph_def, "output")
        next(node for node in graph.nodes.values() if node.op == "Conv2D").attr["padding"].s = b"VALID"
    assert slots(frozen, dataclasses.replace(frozen, graph_def=graph.to_graph_def())) is None


def test_an_integer_that_changed_is_no_slot(source):
    with quiet():
        frozen = freeze(source)
        graph = Graph(frozen.graph_def, "output")
    name = next(n for n, value in graph.constants.items() if value.dtype == np.int32)
    graph.constants[name] = graph.constants[name] + np.int32(1)
    assert slots(frozen, dataclasses.replace(frozen, graph_def=graph.to_graph_def())) is None


def slot(old, new, op="BiasAdd"):
    return Slot(op=op, old=np.asarray(old, np.float32), new=np.asarray(new, np.float32))


def held(*values):
    return [(index, np.asarray(value, np.float32)) for index, value in enumerate(values)]


def test_a_kernel_is_found_in_each_layout(rng):
    old, new = (rng.normal(size=(3, 3, 4, 8)).astype(np.float32) for _ in range(2))
    for order in ((3, 0, 1, 2), (3, 2, 0, 1)):
        found = replacements([slot(old, new, "Conv2D")], held(old.transpose(order)))
        np.testing.assert_array_equal(found[0], new.transpose(order))


def test_a_depthwise_kernel_is_found_with_its_axes_joined(rng):
    old, new = (rng.normal(size=(3, 3, 4, 2)).astype(np.float32) for _ in range(2))
    for order, shape in (((0, 1, 2, 3), (1, 3, 3, 8)), ((2, 3, 0, 1), (8, 1, 3, 3))):
        stored, wanted = (value.transpose(order).reshape(shape) for value in (old, new))
        found = replacements([slot(old, new, "DepthwiseConv2dNative")], held(stored))
        np.testing.assert_array_equal(found[0], wanted)


def test_what_stays_is_not_replaced():
    assert replacements([slot([1, 2], [1, 2])], held([1, 2], [3])) == {}
    assert replacements([slot([1, 2], [1, 2])], held([3])) == {}


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ([slot([1, 2], [3, 4])], held([5, 6])),  # folded into something else
        ([slot([0, 0], [3, 4])], held([0, 0], [0, 0])),  # the converter made one of its own
        ([slot([0, 0], [3, 4]), slot([0, 0], [5, 6])], held([0, 0], [0, 0])),  # which is which?
        ([slot([0, 0], [3, 4]), slot([0, 0], [0, 0])], held([0, 0], [0, 0])),  # one stays
        ([slot([0, 0], [3, 4]), slot([0, 0], [3, 4])], held([0, 0])),  # two were joined into one
        ([slot([[1, 2], [2, 1]], [[1, 2], [3, 4]], "MatMul")], held([[1, 2], [2, 1]])),  # which way round?
    ],
)
def test_doubt_swaps_nothing(found, stored):
    assert replacements(found, stored) is None


def test_a_constant_that_two_operations_read_is_replaced_once():
    ((_, value),) = stored = held([7, 8])
    found = replacements([slot([7, 8], [1, 2])] * 2, stored * 2)
    assert found.keys() == {0}
    np.testing.assert_array_equal(found[0], [1, 2])
    np.testing.assert_array_equal(value, [7, 8])
