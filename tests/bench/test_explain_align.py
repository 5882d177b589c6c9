"""Alignment of operators, and the operators that a profile's events stand for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.explain.align import align
from edgekit.bench.explain.graph import Graph, Node, Weights
from edgekit.bench.explain.kernels import cpu_of
from edgekit.bench.explain.measured import cores_of, middle_mean, ops_of, unavailable
from edgekit.bench.explain.pair import pair_of
from edgekit.bench.explain.side import side_of
from edgekit.testing.runs import example_run


def same(left, right):
    return lambda i, j: float(left[i] == right[j])


def test_what_is_alike_is_paired_and_the_rest_is_kept():
    left, right = "abcd", "xacyd"
    assert align(4, 5, same(left, right)) == (
        (None, 0), (0, 1), (1, None), (2, 2), (None, 3), (3, 4),
    )  # fmt: skip


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_every_place_is_there_once_and_in_order(left, right):
    pairs = align(len(left), len(right), same(left, right))
    assert [i for i, _ in pairs if i is not None] == list(range(len(left)))
    assert [j for _, j in pairs if j is not None] == list(range(len(right)))
    assert all(left[i] == right[j] for i, j in pairs if i is not None and j is not None)


def test_the_better_pair_wins():
    worth = [[1.0, 3.0], [0.0, 1.0]]
    assert (0, 1) in align(2, 2, lambda i, j: worth[i][j])


def test_the_middle_mean_is_finer_than_the_clock_and_steady():
    assert middle_mean([5, 5, 6, 6, 900]) == pytest.approx(17 / 3)
    assert middle_mean([7]) == 7
    assert middle_mean([4, 5]) == 4.5


# --- LiteRT -----------------------------------------------------------------------------------------------
INT8 = Weights(dtype="int8", per_channel=True, symmetric=True, quantized=True)


def node(index, kind, op, name, given="int8", made="int8"):  # noqa: PLR0917 - a row of a table
    weights = INT8 if op == "conv" else None
    types = {"in_types": (given,), "out_types": (made,)}
    return Node(index=index, kind=kind, op=op, name=name, weights=weights, **types)


NODES = (
    node(0, "QUANTIZE", "quantize", "q", "float32"),
    node(1, "CONV_2D", "conv", "first"),
    node(2, "DEQUANTIZE", "dequantize", "d", "int8", "float32"),
    node(3, "ELU", "activation", "elu", "float32", "float32"),
    node(4, "QUANTIZE", "quantize", "q2", "float32"),
    node(5, "CONV_2D", "conv", "second"),
    node(6, "SOFTMAX", "softmax", "end"),
)


def profiled(*ops, runtime="litert", nodes=NODES, format_="tflite", **changes):
    """A run with these operators: (where, kind, index, microseconds)."""
    run = example_run(**changes)
    told = [
        {"e": "op", "where": where, "kind": kind, "index": index, "name": "", "ns": [1000 * us]}
        for where, kind, index, us in ops
    ]
    graph = Graph(format=format_, nodes=nodes).to_json()
    return replace(
        run,
        runtime=replace(run.runtime, name=runtime),
        ops=(
            *told, {"e": "profiler", "plain_ns": [1]}, {"e": "cores", "cpus": {"0": 3, "2": 1}},
            {"e": "graph", **graph},
        ),
    )  # fmt: skip


FUSED = (
    ("XNNPACK", "Convert (NC)", 0, 2),
    ("XNNPACK", "Convolution (NHWC, QC8) IGEMM", 1, 30),
    ("XNNPACK", "Invalid Unary Op", 2, 5),
    ("XNNPACK", "Fully Connected (NC, QS8, QC8W) GEMM", 3, 20),
    ("built-in", "SOFTMAX", 6, 1),
)


def test_xnnpacks_operators_find_the_nodes_that_they_stand_for():
    ops = ops_of(profiled(*FUSED))
    assert [(op.layer, op.op, op.precision, op.ns) for op in ops] == [
        ("q", "quantize", "float32", 2000), ("first", "conv", "int8", 30000),
        ("elu", "activation", "int8", 5000), ("second", "conv", "int8", 20000),
        ("end", "softmax", "int8", 1000),
    ]  # fmt: skip
    assert [op.where for op in ops][-2:] == ["XNNPACK", "built-in"]


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("Convolution (NHWC, F32) IGEMM", "float32"),
        ("Convolution (NHWC, QU8) IGEMM", "uint8"),
        ("Convolution (NHWC, QS8) IGEMM", "int8"),
        ("Fully Connected (NC, QD8, F32, QC8W) GEMM", "dynamic"),
        ("Convolution (NHWC, F16) IGEMM", "float16"),
    ],
)
def test_xnnpacks_names_tell_the_precision(kind, precision):
    assert ops_of(profiled(("XNNPACK", kind, 0, 1), nodes=()))[0].precision == precision


def test_what_was_not_measured_is_read_from_the_file():
    run = profiled()
    ops = ops_of(run)
    assert [op.kind for op in ops] == [node.kind for node in NODES]
    assert {op.ns for op in ops} == {None}
    assert ops[3].is_float
    assert ops[1].is_int8
    assert unavailable(example_run()) == "no profile was taken: bench it with --profile"
    assert unavailable(run) == ""
    assert cores_of(run) == {0: 3, 2: 1}


# --- ONNX Runtime -----------------------------------------------------------------------------------------
def ort(name, kind, *given):
    return {"e": "op", "where": "CPUExecutionProvider", "kind": kind, "index": 0, "name": name,
            "inputs": list(given), "outputs": [], "ns": [1000]}  # fmt: skip


def test_onnx_runtimes_names_lead_back_to_the_files_nodes():
    nodes = (
        Node(index=0, kind="Conv", op="depthwise", name="conv1", inputs=("x",), outputs=("c",)),
        Node(index=1, kind="Relu", op="activation", name="relu1", inputs=("c",), outputs=("r",)),
        Node(index=2, kind="Conv", op="conv", name="conv2", inputs=("r",), outputs=("y",)),
    )
    run = profiled(runtime="onnxruntime", nodes=nodes)
    told = (
        ort("r_nchwc", "Conv", "float"), ort("conv2_token_3", "QLinearConv", "uint8"),
        ort("ReorderOutput", "ReorderOutput", "float"), ort("f", "DynamicQuantizeLinear", "float"),
    )  # fmt: skip
    ops = ops_of(replace(run, ops=(*told, *run.ops)))
    assert [(op.layer, op.op, op.precision) for op in ops] == [
        ("conv1", "depthwise", "float32"), ("conv2", "conv", "uint8"), ("", "layout", "float32"),
        ("", "quantize", "dynamic"),
    ]  # fmt: skip


# --- sides and pairs --------------------------------------------------------------------------------------
def test_rows_stand_side_by_side_and_float_regions_are_found():
    plain = [("XNNPACK", "Convolution (NHWC, F32) IGEMM", n, 40) for n in (0, 1)]
    floats = tuple(
        Node(index=n, kind="CONV_2D", op="conv", name=name, in_types=("float32",), out_types=("float32",))
        for n, name in enumerate(("first", "second"))
    )
    island = (
        *FUSED[:2], ("built-in", "DEQUANTIZE", 2, 3), ("built-in", "ELU", 3, 9),
        ("built-in", "QUANTIZE", 4, 3), FUSED[3], FUSED[4],
    )  # fmt: skip
    pair = pair_of(side_of(profiled(*plain, nodes=floats)), side_of(profiled(*island)))
    both = [(row.a.layer, row.b.layer) for row in pair.rows if row.a and row.b]
    assert both == [("first", "first"), ("second", "second")]
    (region,) = pair.float_regions()
    assert [op.layer for op in region.float_ops] == ["elu"]
    assert [op.op for op in region.borders] == ["dequantize", "quantize"]
    assert region.enclosed
    assert pair.share(region.ops) == pytest.approx(15 / 68)
    assert (pair.a.kind, pair.b.kind) == ("float", "int8")


def test_the_outcome_goes_by_the_intervals():
    run = example_run()
    same_ = pair_of(side_of(run), side_of(run))
    assert (same_.outcome, same_.ratio) == ("no difference", 1.0)
    slow = example_run(samples_ns=tuple(2 * ns for ns in run.samples_ns))
    assert pair_of(side_of(run), side_of(slow)).outcome == "slower"
    assert pair_of(side_of(slow), side_of(run)).outcome == "faster"
    assert pair_of(side_of(run), side_of(example_run(samples_ns=()))).outcome == "unknown"


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ((), "Cortex-A76: features not told"),
        (("asimd", "asimddp", "asimdhp"), "Cortex-A76: int8 dot product, no i8mm, fp16"),
        (("sse4_2", "avx2"), "Cortex-A76: no int8 dot product, no i8mm, no fp16"),
        (("avx512_vnni",), "Cortex-A76: int8 dot product, no i8mm, no fp16"),
    ],
)
def test_what_a_cpu_has(features, text):
    assert str(cpu_of({"cpus": [["Cortex-A76", 2400]] * 4, "features": list(features)})) == text
