"""What a run keeps of its profile pass, and where its operators ran."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.document import run_json
from edgekit.bench.explain.graph import Graph, Node
from edgekit.bench.plan import Work
from edgekit.bench.profile import NO_KERNELS, delegated, delegation_of, delegation_text, fallback, kept
from edgekit.bench.summarize import summarize
from edgekit.testing.runs import example_run

GRAPH = Graph(
    format="tflite",
    nodes=tuple(
        Node(index=n, kind=kind, op=op, name=kind.lower())
        for n, (kind, op) in enumerate([("CONV_2D", "conv"), ("CONV_2D", "conv"), ("SOFTMAX", "softmax")])
    ),
)


def node(index, kind, inputs, outputs):
    return {"index": index, "kind": kind, "inputs": inputs, "outputs": outputs}


CHAIN = [node(0, "CONV_2D", [0, 10], [1]), node(1, "CONV_2D", [1, 11], [2]), node(2, "SOFTMAX", [2], [3])]


def op(where, kind, index, ns):
    return {"e": "op", "where": where, "kind": kind, "index": index, "name": "", "ns": [ns]}


def litert(nodes, *ops, graph=GRAPH, **plan):
    run = example_run()
    told = ({"e": "nodes", "nodes": nodes}, *ops, {"e": "graph", **graph.to_json()})
    return replace(run, ops=told, plan={**run.plan, **plan})


def test_delegated_nodes_are_those_upwards_of_a_delegates_outputs():
    whole = node(3, "DELEGATE", [0, 10, 11], [2])
    assert delegated([whole], CHAIN) == {0, 1}
    parts = [node(3, "DELEGATE", [0, 10], [1]), node(4, "DELEGATE", [2], [3])]
    assert delegated(parts, CHAIN) == {0, 2}
    assert delegated([], CHAIN) == set()


def test_a_small_rest_is_no_fallback():
    ops = (
        op("XNNPACK", "Convolution", 0, 90),
        op("XNNPACK", "Convolution", 1, 9),
        op("built-in", "SOFTMAX", 2, 1),
    )
    told = delegation_of(litert([*CHAIN, node(3, "DELEGATE", [0, 10, 11], [2])], *ops))
    assert told.counts == {"XNNPACK": 2, "built-in": 1}
    assert told.outside == ("SOFTMAX",)
    assert told.share == pytest.approx(0.01)
    assert not told.fell_back


@pytest.mark.parametrize(
    ("delegates", "softmax_ns"),
    [
        ([], 1),  # silent: nothing was delegated
        ([node(3, "DELEGATE", [0, 10], [1])], 1),  # partial: a convolution was left out
        ([node(3, "DELEGATE", [0, 10, 11], [2])], 50),  # what was left out takes a third of the time
    ],
)
def test_a_silent_or_partial_fallback_makes_a_run_invalid_unless_allowed(delegates, softmax_ns):
    ops = (op("XNNPACK", "Convolution", 0, 50), op("XNNPACK", "Convolution", 1, 50))
    rest = op("built-in", "SOFTMAX", 2, softmax_ns)
    (doubt,) = fallback(litert([*CHAIN, *delegates], *ops, rest))
    assert (doubt.code, doubt.verdict) == ("fallback", "invalid")
    assert "--allow-fallback" in doubt.hint
    (allowed,) = fallback(litert([*CHAIN, *delegates], *ops, rest, allow_fallback=True))
    assert allowed.verdict == "suspect"


def test_onnx_runtime_names_a_provider_with_each_node():
    run = example_run()
    ops = (op("CPUExecutionProvider", "Conv", 0, 9), op("OtherExecutionProvider", "Add", 1, 91))
    run = replace(run, runtime=replace(run.runtime, name="onnxruntime"), ops=ops)
    told = delegation_of(run)
    assert told.counts == {"CPUExecutionProvider": 1, "OtherExecutionProvider": 1}
    assert told.fell_back
    assert [doubt.code for doubt in fallback(run)] == ["fallback"]


def test_without_a_profile_nothing_is_known_or_doubted():
    assert delegation_of(example_run()) is None
    assert list(fallback(example_run())) == []


def test_a_run_keeps_what_was_told_and_the_artifacts_graph(tmp_path):
    ref = example_run().artifact
    events = [
        {"e": "hello", "pass": "profile", "t": 1, "run": "r"},
        {"e": "cores", "pass": "profile", "t": 2, "cpus": {"0": 1}},
        {"e": "samples", "pass": "latency", "t": 3, "ns": [1]},
    ]
    work = Work(ref=ref, path=tmp_path / "gone.tflite")
    cores, graph = kept(events, work)
    assert cores == {"e": "cores", "cpus": {"0": 1}}
    assert graph["e"] == "no-graph"
    assert "gone.tflite" in graph["reason"]
    assert kept(events[2:], Work(ref=ref, path=Path("none"))) == ()


# --- without a profile: what every run tells ------------------------------------------------------------
def placed(runtime="litert", precision="int8", **told):
    run = example_run(placed=told)
    ref, artifact = replace(run.runtime, name=runtime), replace(run.artifact, precision=precision)
    return replace(run, runtime=ref, artifact=artifact)


WHOLE = [*CHAIN, node(3, "DELEGATE", [0, 10, 11], [2])]


@pytest.mark.parametrize(
    ("run", "text", "verdict"),
    [
        (placed(nodes=WHOLE), "2 of 3 nodes on XNNPACK, not SOFTMAX", None),
        (placed(nodes=CHAIN), "0 of 3 nodes on XNNPACK, not CONV_2D, CONV_2D, SOFTMAX", "invalid"),
        (
            placed(delegated={"nodes": 66, "taken": 65, "left": [25]}),
            "65 of 66 nodes on XNNPACK, not SOFTMAX",
            None,
        ),
        (
            placed(delegated={"nodes": 9, "taken": 3, "left": [4, 4, 3, 999, 25, 0]}),
            "3 of 9 nodes on XNNPACK, not DEPTHWISE_CONV_2D, DEPTHWISE_CONV_2D, CONV_2D, operator 999, ...",
            "invalid",
        ),
        (placed(nodes=CHAIN, precision=NO_KERNELS[0]), None, "suspect"),
        (placed(delegated={"nodes": 2, "taken": 1, "left": [3]}, precision="fp16"), None, "invalid"),
        (
            placed("onnxruntime", providers=["CPUExecutionProvider"]),
            "all nodes on CPUExecutionProvider",
            None,
        ),
        (
            placed("onnxruntime", providers=["CPUExecutionProvider"], artifact_nodes=77),
            "77 of 77 nodes on CPUExecutionProvider",
            None,
        ),
        (
            placed("onnxruntime", providers=["Strange", "CPUExecutionProvider"], artifact_nodes=77),
            "providers: Strange",
            "invalid",
        ),
        (placed("onnxruntime"), "", None),
        (placed("null", nodes=CHAIN), "", None),
        (placed(), "", None),
    ],
)
def test_every_run_tells_who_executed_it(run, text, verdict):
    assert text is None or delegation_text(run) == text
    assert [doubt.verdict for doubt in fallback(run)] == ([verdict] if verdict else [])
    allowed = replace(run, plan={**run.plan, "allow_fallback": True})
    assert {doubt.verdict for doubt in fallback(allowed)} <= {"suspect"}
    assert "--allow-fallback" in "".join(d.hint for d in fallback(run)) or verdict in (None, "suspect")


def test_counts_of_every_kind_are_json():
    """A Counter would not be: `asdict` makes one whose keys are pairs."""
    for told in ({"nodes": WHOLE}, {"delegated": {"nodes": 400, "taken": 100, "left": [3] * 256}}):
        run = placed(**told)
        delegation = json.loads(json.dumps(run_json(run, summarize(run))))["delegation"]
        assert sum(delegation["counts"].values()) == (3 if "nodes" in told else 400)


def test_a_profile_is_told_rather_than_the_nodes_of_the_run():
    run = replace(litert(WHOLE, op("built-in", "SOFTMAX", 2, 1)), placed={"nodes": CHAIN})
    assert delegation_of(run).counts == {"XNNPACK": 2, "built-in": 1}
    assert delegation_text(run) == "2 of 3 nodes on XNNPACK, not SOFTMAX"
