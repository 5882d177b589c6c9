"""A format's tensors are found by what they hold; tied tensors share a range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.matching import Print, matched, ranges_for
from edgekit.convert.ranges import CalibrationRecord, Prints, grid
from edgekit.convert.ties import tied

INPUTS = np.zeros((2, 4, 4, 3), np.float32)


def values(low, high, mean):
    return np.array([[low, high, mean], [low * 2, high * 3, mean * 2]], np.float32)


KNOWN = {
    "input": (48, values(-1, 1, 0.1)),
    "conv/BiasAdd": (64, values(-2, 3, 0.5)),
    "conv/Relu": (64, values(0, 3, 0.8)),
    "conv/Reshape": (64, values(0, 3, 0.8)),
    "top": (10, values(-9, 9, 0.0)),
}


@pytest.fixture
def record():
    prints = Prints(
        inputs=INPUTS,
        sizes={name: size for name, (size, _) in KNOWN.items()},
        values={name: held for name, (_, held) in KNOWN.items()},
    )
    ranges = {name: (float(v[:, 0].min()), float(v[:, 1].max())) for name, (_, v) in KNOWN.items()}
    return CalibrationRecord(sha256="0" * 64, count=2, method="minmax", ranges=ranges, prints=prints)


def find(record, **tensors):
    return matched(record.prints, {n: Print(size=s, values=v) for n, (s, v) in tensors.items()})


def test_a_tensor_is_found_whatever_it_is_called(record):
    found = find(record, a=(64, values(-2, 3, 0.5)), b=(10, values(-9, 9, 0) * (1 + 1e-5)))
    assert found == {"a": "conv/BiasAdd", "b": "top"}


def test_another_size_or_another_value_is_another_tensor(record):
    assert find(record, a=(65, values(-2, 3, 0.5))) == {}
    assert find(record, a=(64, values(-2, 3, 0.6))) == {}
    second = values(-2, 3, 0.5)
    second[1, 1] += 0.1  # only the second input tells them apart
    assert find(record, a=(64, second)) == {}


def test_of_two_that_fit_the_named_one_is_taken_then_the_later(record):
    assert find(record, other=(64, values(0, 3, 0.8))) == {"other": "conv/Reshape"}
    prints = {"x;conv/Relu;y": Print(size=64, values=values(0, 3, 0.8))}
    assert matched(record.prints, prints) == {"x;conv/Relu;y": "conv/Relu"}


def test_only_what_the_record_lacks_is_measured(record):
    asked = []

    def measure(names):
        asked.append(list(names))
        return [{"own": (-1.0, 4.0)}, {"own": (-2.0, 1.0)}]

    tensors = {n: Print(size=s, values=v) for n, (s, v) in KNOWN.items()}
    ranges, lacking = ranges_for(record, tensors, measure)
    assert (ranges, lacking, asked) == (record.ranges, (), [])
    ranges, lacking = ranges_for(record, {"own": Print(size=7, values=values(1, 2, 1))}, measure)
    assert (ranges, lacking, asked) == ({"own": (-2.0, 4.0)}, ("own",), [["own"]])


def test_a_record_from_a_file_finds_nothing(record, tmp_path):
    (tmp_path / "calibration.json").write_bytes(record.to_json())
    loaded = CalibrationRecord.load(tmp_path)
    with pytest.raises(ValueError, match="read from a file"):
        ranges_for(loaded, {}, lambda _: [])


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_a_grid_holds_its_range_and_zero(low, width):
    made = grid(low, low + width)
    assert -128 <= made.zero_point <= 127
    assert made.scale > 0
    if width or low:
        slack = made.scale * 0.5001 + 1e-9
        assert made.low <= min(low, 0.0) + slack
        assert made.high >= max(low + width, 0.0) - slack
    assert made.low <= 0 <= made.high


@given(st.floats(-50, 0), st.floats(0.01, 50))
def test_a_grids_own_ends_give_the_same_grid(low, high):
    made = grid(low, high)
    assert grid(made.low, made.high) == made


def graph(*nodes):
    pb = pytest.importorskip("tensorflow.core.framework.graph_pb2")
    return pb.GraphDef(node=[pb.GraphDef().node.add(name=n, op=op, input=i) for n, op, i in nodes])


def test_what_only_moves_values_has_its_inputs_range():
    net = graph(
        ("conv", "Conv2D", ["input", "w"]), ("pool", "MaxPool", ["conv"]), ("flat", "Reshape", ["pool", "to"])
    )  # fmt: skip
    found = tied(net, {"input": (-1, 1), "conv": (-3, 4), "pool": (0, 4), "flat": (0, 4)})
    assert found == {"input": (-1, 1), "conv": (-3, 4), "pool": (-3, 4), "flat": (-3, 4)}


def test_every_part_of_a_split_has_the_whole_ones_range():
    net = graph(("relu", "Relu", ["input"]), ("split", "Split", ["axis", "relu"]))
    found = tied(net, {"input": (-1, 1), "relu": (0, 5), "split": (0, 2), "split:1": (0, 5)})
    assert found["split"] == found["split:1"] == (0, 5)


def test_what_is_computed_for_a_concatenation_has_its_range_and_what_is_moved_into_it_not():
    net = graph(
        ("a", "Relu", ["input"]), ("b", "BiasAdd", ["conv"]), ("moved", "Slice", ["input"]),
        ("inner", "ConcatV2", ["a", "b", "axis"]), ("outer", "ConcatV2", ["inner", "moved", "axis"]),
    )  # fmt: skip
    ranges = {
        "input": (-9, 9),
        "a": (0, 1),
        "b": (-2, 1),
        "moved": (-1, 8),
        "inner": (-2, 1),
        "outer": (-2, 8),
    }
    found = tied(net, ranges)
    assert found["a"] == found["b"] == found["inner"] == found["outer"] == (-2, 8)
    assert found["moved"] == (-9, 9)


def test_a_softmax_has_the_grid_that_runtimes_fix():
    found = tied(graph(("top", "Softmax", ["input"])), {"input": (-9, 9), "top": (0.01, 0.7)})
    assert (grid(*found["top"]).scale, grid(*found["top"]).zero_point) == (1 / 256, -128)
