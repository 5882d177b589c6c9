"""The profile pass of the program on the device: what the runtimes' own profilers tell, on this machine."""

import json

import pytest

from edgekit.errors import ProtocolError
from edgekit.runners.lines import parse_line
from edgekit.runners.on_device.python.edgekit_runner import litert_profiler, profile


def only(events, name):
    (found,) = [event for event in events if event["e"] == name]
    return found


def ops(events):
    return [event for event in events if event["e"] == "op"]


@pytest.mark.parametrize("name", ["float", "int8"])
def test_litert_tells_every_operator_of_xnnpack(program, tflite, golden, name):
    pytest.importorskip("ai_edge_litert")
    code, events = program.run(
        "profile",
        runtime="litert",
        artifact=f"{tflite}/{name}.tflite",
        golden=str(golden),
        profile={"runs": 7},
    )
    assert code == 0, program.stderr
    assert [e["e"] for e in events][:6] == ["hello", "load", "first", "nodes", "profiler", "cores"]
    told = only(events, "profiler")
    assert "unavailable" not in told
    assert len(told["plain_ns"]) == len(told["profiled_ns"]) == 7
    assert {len(op["ns"]) for op in ops(events)} == {7}
    kinds = [op["kind"] for op in ops(events) if op["where"] == "XNNPACK"]
    precision = "F32" if name == "float" else "QC8"
    assert any(kind.startswith("Convolution") and precision in kind for kind in kinds)
    assert any(kind.startswith("Fully Connected") for kind in kinds)
    measured = sum(min(op["ns"]) for op in ops(events))
    assert measured <= min(told["profiled_ns"])


def test_litert_tells_its_delegates_beside_its_nodes(program, tflite):
    pytest.importorskip("ai_edge_litert")
    _, events = program.run("profile", runtime="litert", artifact=f"{tflite}/float.tflite", profile=None)
    nodes = only(events, "nodes")["nodes"]
    assert nodes[0]["kind"] == "CONV_2D"
    assert nodes[-1]["kind"] == "DELEGATE"
    assert nodes[-2]["outputs"] == nodes[-1]["outputs"]


def test_onnxruntime_tells_every_node_with_its_provider_and_its_types(program, onnx, golden):
    pytest.importorskip("onnxruntime")
    code, events = program.run(
        "profile",
        runtime="onnxruntime",
        artifact=f"{onnx}/float.onnx",
        golden=str(golden),
        profile={"runs": 9},
    )
    assert code == 0, program.stderr
    last = ops(events)[-1]
    assert (last["where"], last["inputs"][0], last["outputs"]) == ("CPUExecutionProvider", "float", ["float"])
    assert {len(op["ns"]) for op in ops(events)} == {9}
    assert sorted(path.suffix for path in program.folder.iterdir()) == [".json", ".jsonl"]


def test_cores_are_those_it_was_kept_to(program, onnx):
    pytest.importorskip("onnxruntime")
    _, events = program.run("profile", runtime="onnxruntime", artifact=f"{onnx}/float.onnx", cpus=[0])
    cores = only(events, "cores")["cpus"]
    assert set(cores) == {"0"}
    assert cores["0"] >= 40 // profile.BETWEEN_LOOKS


def test_without_a_profiler_it_says_so_and_keeps_the_plain_times(program):
    code, events = program.run("profile", profile={"runs": 5})
    assert code == 0
    told = only(events, "profiler")
    assert told["unavailable"] == "this runtime has no profiler"
    assert len(told["plain_ns"]) == 5
    assert not ops(events)


def test_a_library_without_the_functions_is_no_profiler(tmp_path, monkeypatch):
    module = type("Module", (), {"__file__": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(litert_profiler.importlib, "import_module", lambda _name: module)
    with pytest.raises(litert_profiler.Unavailable, match="can't be reached"):
        litert_profiler.Profiled("none.tflite", 1)


def test_an_older_litert_is_not_tried():
    older = type("Older", (), {"version": "2.1.0"})()
    with pytest.raises(litert_profiler.Unavailable, match=r"LiteRT 2\.1\.0"):
        profile.litert_ops({}, older, None, 3, profile.Cores())


def test_operators_are_told_apart_by_their_place():
    once = [("XNNPACK", "Convert", 0), ("built-in", "LRN", 2), ("XNNPACK", "Convert", 0)]
    events = [(*op, 10 * run + place) for run in range(2) for place, op in enumerate(once)]
    told = profile.by_place(events, 2)
    assert [(op["kind"], op["ns"]) for op in told] == [
        ("Convert", [0, 10]),
        ("LRN", [1, 11]),
        ("Convert", [2, 12]),
    ]
    for wrong in (events[:-1], [*events[:-1], ("built-in", "LRN", 2, 9)], []):
        with pytest.raises(litert_profiler.Unavailable, match="not alike"):
            profile.by_place(wrong, 2)


def test_a_trace_keeps_the_last_runs_of_each_node():
    node = {"node_index": "3", "op_name": "Conv", "provider": "P", "input_type_shape": [{"float": [1]}],
            "output_type_shape": ""}  # fmt: skip
    events = [
        {"cat": "Session", "name": "model_run", "dur": 9},
        *({"cat": "Node", "name": "c_kernel_time", "dur": n, "args": node} for n in (50, 7, 8)),
        {"cat": "Node", "name": "c_fence_before", "dur": 1, "args": node},
    ]
    (told,) = profile.ort_nodes(events, 2)
    assert told == {
        "index": 3, "kind": "Conv", "name": "c", "where": "P", "ns": [7000, 8000], "inputs": ["float"],
        "outputs": [],
    }  # fmt: skip


def line(**changes):
    told = {
        "e": "op",
        "pass": "profile",
        "t": 1,
        "index": 0,
        "kind": "k",
        "name": "",
        "where": "w",
        "ns": [1],
    }
    return json.dumps({**told, **changes}).encode()


def test_what_is_told_of_operators_is_held_to_its_types():
    assert parse_line(line(inputs=["float"]))["inputs"] == ["float"]
    for wrong in ({"ns": [-1]}, {"inputs": [1]}, {"inputs": "float"}, {"index": "0"}, {"more": 1}):
        with pytest.raises(ProtocolError):
            parse_line(line(**wrong))


def test_nodes_and_cores_are_held_to_their_types():
    node = {"index": 0, "kind": "ADD", "inputs": [1], "outputs": [2]}
    told = {"e": "nodes", "pass": "profile", "t": 1, "nodes": [node]}
    assert parse_line(json.dumps(told).encode())["nodes"] == [node]
    for wrong in (node, [{**node, "inputs": None}], [{"index": 0}]):
        with pytest.raises(ProtocolError):
            parse_line(json.dumps({**told, "nodes": wrong}).encode())
    cores = {"e": "cores", "pass": "profile", "t": 1, "cpus": {"0": 4}}
    assert parse_line(json.dumps(cores).encode())["cpus"] == {"0": 4}
    with pytest.raises(ProtocolError):
        parse_line(json.dumps({**cores, "cpus": ["0"]}).encode())
