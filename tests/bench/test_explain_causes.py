"""Every cause, each from operators made to show it, and what it is held against."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.explain.causes import GIVEN, MENDABLE, causes_of
from edgekit.bench.explain.conditions import CHECKS, differences
from edgekit.bench.explain.explain import explain, headline
from edgekit.bench.explain.graph import Graph, Node, Weights
from edgekit.bench.explain.pair import pair_of
from edgekit.bench.explain.side import side_of
from edgekit.testing.runs import example_run, example_samples

SYMMETRIC = Weights(dtype="int8", per_channel=True, symmetric=True, quantized=True)
ASYMMETRIC = Weights(dtype="uint8", per_channel=False, symmetric=False, quantized=True)
FLOAT = Weights(dtype="float32")
ORT = "CPUExecutionProvider"
ORT_TYPES = {"float32": "float", "int8": "int8", "uint8": "uint8", "int16": "int16"}
KINDS = {
    "litert": {"float32": "Convolution (NHWC, F32) IGEMM", "int8": "Convolution (NHWC, QC8) IGEMM",
               "uint8": "Convolution (NHWC, QU8) IGEMM", "dynamic": "Convolution (NHWC, QD8, F32) IGEMM"},
    "onnxruntime": {"float32": "Conv", "int8": "QLinearConv", "uint8": "QLinearConv"},
}  # fmt: skip
CONV = {"litert": "CONV_2D", "onnxruntime": "Conv"}


class Net:
    """A chain of operators with their events, as a runtime would tell them."""

    def __init__(self, runtime="litert"):
        self.runtime, self.nodes, self.events = runtime, [], []

    def add(self, op, kind, told, us, *, where="", types=("float32", "float32"), weights=None, intensity=50):
        """Add a node of this kind, and the operator of this kind that ran for it."""
        index = len(self.nodes)
        given, made = f"t{index}", f"t{index + 1}"
        node = Node(
            index=index, kind=kind, op=op, name=f"n{index}", inputs=(given,), outputs=(made,),
            in_types=types[:1], out_types=types[1:], weights=weights, macs=intensity * 1000, moved_bytes=1000,
        )  # fmt: skip
        place = where or ("XNNPACK" if self.runtime == "litert" else ORT)
        self.nodes.append(node)
        self.events.append(
            {"e": "op", "index": index, "kind": told, "name": f"n{index}", "where": place, "ns": [1000 * us],
             "inputs": [ORT_TYPES[types[0]]], "outputs": []}
        )  # fmt: skip
        return self

    def conv(self, precision, us, *, weights=SYMMETRIC, op="conv", **more):
        """Add a convolution of this precision."""
        types = ("float32",) * 2 if precision in {"float32", "dynamic"} else (precision,) * 2
        told = KINDS[self.runtime][precision]
        return self.add(op, CONV[self.runtime], told, us, types=types, weights=weights, **more)

    def border(self, op, us):
        """Add a quantize or dequantize operator."""
        types = ("float32", "int8") if op == "quantize" else ("int8", "float32")
        names = {"litert": ("QUANTIZE", "DEQUANTIZE"), "onnxruntime": ("QuantizeLinear", "DequantizeLinear")}
        kind = names[self.runtime][op == "dequantize"]
        return self.add(op, kind, kind if self.runtime != "litert" else "Convert (NC)", us, types=types)

    def run(self, name, *, factor=1.0, features=("asimddp",), **changes):
        """Return the run; its latency is the operators' sum, times a factor."""
        total = sum(event["ns"][0] for event in self.events)
        run = example_run(
            id=name,
            facts={"machine": "aarch64", "cpus": [["Cortex-A76", 2400]], "features": list(features)},
            samples_ns=example_samples(middle_ns=int(total * factor)),
        )
        graph = Graph(format="tflite", nodes=tuple(self.nodes)).to_json()
        told = (*self.events, {"e": "profiler", "plain_ns": [total]}, {"e": "graph", **graph})
        return replace(run, runtime=replace(run.runtime, name=self.runtime), ops=told, **changes)


def plain(precision="float32", *, runtime="litert", us=(100, 100), weights=None):
    """Two convolutions of this precision."""
    net = Net(runtime)
    for one in us:
        net.conv(precision, one, weights=weights or (FLOAT if precision == "float32" else SYMMETRIC))
    return net


def told(b, *, a=None, **changes):
    """Return the codes of the causes with the first cause."""
    first = (a or plain(runtime=b.runtime)).run("a", **changes)
    found = explain(first, b.run("b", **changes))
    return [cause.code for cause in found.causes], found.cause


def test_an_artifact_that_is_not_int8_is_told_first():
    codes, cause = told(plain())
    assert codes == ["not-int8"]
    assert cause.evidence == ("all 2 operators with weights compute in float32",)


def test_dynamic_ranges_cost_what_their_operators_take():
    net = Net()
    net.add("conv", "CONV_2D", KINDS["litert"]["dynamic"], 100, weights=SYMMETRIC)
    net.events.insert(0, {**net.events[0], "kind": "Convert (NC, F32, QD8)", "ns": [60_000]})
    codes, cause = told(net)
    assert codes == ["dynamic-range"]
    assert cause.share == pytest.approx(60 / 160)
    assert cause.evidence[1].endswith("in every invocation, 0.06 ms")


@pytest.mark.parametrize(("runtime", "lacking"), [("litert", "SIN"), ("onnxruntime", "HardSwish")])
def test_an_island_without_a_kernel_is_told_with_its_borders(runtime, lacking):
    net = Net(runtime).conv("int8", 20).border("dequantize", 15)
    net.add("unary", lacking, lacking, 70).border("quantize", 15).conv("int8", 20)
    codes, cause = told(net)
    assert codes == ["no-int8-kernel"]
    assert cause.share == pytest.approx(100 / 140)
    assert cause.evidence[0].startswith(f"{lacking} ran in float: {runtime} ")
    assert "2 quantize/dequantize operators around them, 0.03 ms" in cause.evidence


def test_an_island_that_takes_little_is_not_told():
    net = Net().conv("int8", 1000).border("dequantize", 5).add("unary", "SIN", "SIN", 5).border("quantize", 5)
    codes, _ = told(net.conv("int8", 1000), a=plain(us=(3000, 3000)))
    assert codes == ["as-expected"]


def test_pairs_left_unfused_are_told_with_what_is_missing():
    net = Net("onnxruntime").border("quantize", 9).border("dequantize", 9).conv("float32", 80, weights=FLOAT)
    net.border("quantize", 9).border("dequantize", 9).conv("float32", 80)
    codes, cause = told(net)
    assert codes == ["unfused-qdq"]
    assert cause.line.startswith("quantize/dequantize pairs were not fused: 2 Conv ran in float")
    assert "its weights are not quantized (1 of them)" in cause.evidence
    assert "its output goes to no QuantizeLinear at once (1 of them)" in cause.evidence


def test_signed_activations_on_x86_are_told_apart():
    def chain():
        net = Net("onnxruntime").border("quantize", 9).border("dequantize", 9).conv("float32", 80)
        return net.border("quantize", 9).border("dequantize", 9)

    runs = [net.run(name) for net, name in ((plain(runtime="onnxruntime"), "a"), (chain(), "b"))]
    on_arm = explain(*runs).cause
    on_x86 = explain(*(replace(run, facts={**run.facts, "machine": "x86_64"}) for run in runs)).cause
    assert "its pattern of types is none that the runtime fuses (1 of them)" in on_arm.evidence
    assert any(text.startswith("on x86 ONNX Runtime fuses uint8") for text in on_x86.evidence)
    assert on_x86.hint.startswith("bench it on ARM")


def test_asymmetric_weights_are_onnx_runtimes_matter():
    codes, cause = told(plain("uint8", runtime="onnxruntime", weights=ASYMMETRIC))
    assert codes == ["asymmetric-weights"]
    assert "uint8" in cause.line
    shifted = replace(SYMMETRIC, symmetric=False)
    assert told(plain("int8", runtime="onnxruntime", weights=shifted))[0] == ["asymmetric-weights"]
    assert told(plain("int8", runtime="onnxruntime"))[0] == ["unexplained"]


def test_uint8_per_tensor_is_literts_matter_and_int8_per_tensor_is_none():
    codes, cause = told(plain("uint8", weights=ASYMMETRIC))
    assert codes == ["per-tensor-weights"]
    assert cause.evidence[-1] == "n0 0.1 to 0.1 ms, n1 0.1 to 0.1 ms"
    per_tensor = replace(SYMMETRIC, per_channel=False)
    assert told(plain("int8", weights=per_tensor))[0] == ["unexplained"]


def test_int8_operators_that_xnnpack_left_out():
    net = Net().conv("int8", 50)
    net.add("conv", "CONV_2D", "CONV_2D", 150, where="built-in", types=("int8", "int8"), weights=SYMMETRIC)
    codes, cause = told(net)
    assert codes == ["not-delegated"]
    assert cause.share == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("types", "kind"), [(("int16", "int16"), "int16"), (("float32", "float32"), "dynamic")]
)
def test_16_bits_and_dynamic_ranges_that_xnnpack_left_out(types, kind):
    net = Net()
    for _ in range(2):
        net.add("conv", "CONV_2D", "CONV_2D", 900, where="built-in", types=types, weights=SYMMETRIC)
    codes, cause = told(net)
    assert codes == ["not-delegated"]
    assert cause.line.startswith(f"XNNPACK did not take the {kind} operators")
    assert cause.evidence[0] == "2 of 2 operators with weights"


def test_what_no_artifact_can_change_comes_last():
    slow = plain("uint8", weights=ASYMMETRIC)
    codes, _ = told(slow, features=("asimd",))
    assert codes == ["per-tensor-weights", "no-dot-product"]
    assert told(plain("int8"), features=("asimd",))[0] == ["no-dot-product"]
    assert told(plain("int8"), features=())[0] == ["unexplained"]


def test_memory_is_the_cause_when_most_of_float_waits_for_it():
    def moving(precision, us):
        net = Net().conv(precision, 20)
        return net.conv(precision, us, op="depthwise", intensity=1)

    codes, cause = told(moving("int8", 90), a=moving("float32", 80))
    assert codes == ["memory-bound"]
    assert cause.evidence[:2] == ("80% of float's time: fewer than 4 multiplications a byte", "1 depthwise")
    assert cause.evidence[2] == "slower in int8 than in float: 1 depthwise, together 0.01 ms more"
    assert told(moving("int8", 90), a=moving("float32", 18))[0] != ["memory-bound"]


def test_a_network_of_nothing_but_overhead():
    first, second = plain().run("a", factor=4.0), plain("int8").run("b", factor=4.0)
    found = explain(first, second)
    assert found.cause.code == "overhead"
    assert found.cause.share == pytest.approx(0.75, abs=0.01)


def test_a_gain_as_usual_needs_no_cause_unless_much_could_be_better():
    assert told(plain("int8", us=(40, 40)))[0] == ["as-expected"]
    net = Net().conv("int8", 20).border("dequantize", 5).add("unary", "SIN", "SIN", 20).border("quantize", 5)
    assert told(net.conv("int8", 20))[0] == ["no-int8-kernel"]


def test_every_check_is_tried_here():
    tried = Path(__file__).read_text(encoding="utf-8")
    codes = {"not-int8", "dynamic-range", "unfused-qdq", "no-int8-kernel", "asymmetric-weights",
             "per-tensor-weights", "not-delegated", "overhead", "memory-bound", "no-dot-product"}  # fmt: skip
    assert len(MENDABLE) + len(GIVEN) == len(codes) - 1  # one check tells two
    assert all(tried.count(f'"{code}"') > 1 for code in codes)


def test_causes_are_ordered_by_what_they_concern():
    net = Net("onnxruntime").conv("uint8", 30, weights=ASYMMETRIC).border("dequantize", 10)
    net.add("unary", "HardSwish", "HardSwish", 50).border("quantize", 10)
    pair = pair_of(side_of(plain(runtime="onnxruntime").run("a")), side_of(net.run("b")))
    found = causes_of(pair)
    assert [cause.code for cause in found] == ["no-int8-kernel", "asymmetric-weights"]
    assert found[0].share > found[1].share


# --- conditions -------------------------------------------------------------------------------------------
def test_equal_conditions_differ_in_nothing():
    a, b = (side_of(plain(kind).run(kind)) for kind in ("float32", "int8"))
    assert differences(a, b) == ()


def changed(run, key, *values):
    return replace(run, conditions=tuple({**c, key: v} for c, v in zip(run.conditions, values, strict=True)))


@pytest.mark.parametrize(
    ("code", "first", "second"),
    [
        ("clock", {"clusters": [{"cur_khz": 1_000_000}]}, {"clusters": [{"cur_khz": 1_200_000}]}),
        ("canary", {"canary_ns": 50_000}, {"canary_ns": 60_000}),
        ("throttled", {}, {"throttled": "soft temperature limit"}),
        ("", {"clusters": [{"cur_khz": 1_000_000}]}, {"clusters": [{"cur_khz": 1_050_000}]}),
        ("", {"canary_ns": 50_000}, {"canary_ns": 55_000}),
        ("", {"canary_ns": 50_000}, {}),
    ],
)
def test_each_condition_has_its_limit(code, first, second):
    sides = []
    for run, more in ((plain().run("a"), first), (plain("int8").run("b"), second)):
        sides.append(side_of(replace(run, conditions=tuple({**c, **more} for c in run.conditions))))
    found = differences(*sides)
    assert [cause.code for cause in found] == ([code] if code else [])
    assert all(cause.evidence and cause.hint for cause in found)


def test_there_are_seven_conditions():
    assert [check.__name__ for check in CHECKS] == [
        "_device", "_runtime", "_threads", "_cores", "_throttled", "_clock", "_canary",
    ]  # fmt: skip


# --- the line ---------------------------------------------------------------------------------------------
def test_the_headline_says_what_was_measured():
    a, slow, fast = (
        plain().run("a"),
        plain("int8", us=(150, 150)).run("b"),
        plain("int8", us=(50, 50)).run("b"),
    )
    assert headline(pair_of(side_of(a), side_of(slow))).startswith(
        "int8 is 1.50 times slower than float (0.3 ms"
    )
    assert headline(pair_of(side_of(a), side_of(fast))).startswith(
        "int8 is 2.00 times faster than float (0.1 ms"
    )
    alike = pair_of(side_of(a), side_of(plain("int8").run("b")))
    assert headline(alike) == "int8 is as fast as float (0.2 ms against 0.2 ms)"
    few = replace(a, samples_ns=())
    assert headline(pair_of(side_of(few), side_of(fast))) == "int8 against float: the medians are withheld"
    emulated = replace(a, facts={"emulated": "qemu-tcg"})
    assert headline(pair_of(side_of(emulated), side_of(fast))).startswith(
        "on an emulated device, int8 is 2.00"
    )


def test_notes_say_what_is_missing_or_odd():
    slowed = explain(plain().run("a", factor=0.5), plain("int8").run("b", factor=0.5))
    assert any("the profiler slowed it down" in note for note in slowed.notes)
    bare = replace(plain("int8").run("b"), ops=())
    assert (
        "B has no times of operators: no profile was taken: bench it with --profile"
        in explain(plain().run("a"), bare).notes
    )
