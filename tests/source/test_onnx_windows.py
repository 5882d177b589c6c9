"""Windows of any size, stride, padding and dilation go where ONNX Runtime puts them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgekit.errors import ConversionError
from edgekit.source.onnx.node import Node
from edgekit.source.onnx.source import load_onnx
from edgekit.source.onnx.window import window
from edgekit.source.quiet import quiet
from edgekit.source.trace import to_function
from edgekit.source.types import run_each

pytestmark = pytest.mark.convert
RANDOM = np.random.default_rng(8)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
OFTEN = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def node(op="Conv", **attributes):
    return Node(
        op=op, name="it", operands=(), attributes=attributes, outputs=1, opset=17, source="net.onnx"
    )  # fmt: skip


@st.composite
def windows(draw, *, dilated):
    """The attributes of a window that fits its image, and the image's height and width."""
    kernel, strides = draw(PAIR), draw(PAIR)
    dilations = draw(PAIR) if dilated else (1, 1)
    pads = [draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    size = draw(st.tuples(st.integers(3, 9), st.integers(3, 9)))
    spans = [(kernel[i] - 1) * dilations[i] + 1 for i in (0, 1)]
    assume(all(size[i] + pads[i] + pads[i + 2] >= spans[i] for i in (0, 1)))
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    return (attributes | {"dilations": dilations} if dilated else attributes), size


def hold(path):
    """Load a network, which proves it on noise, and hold it against ONNX Runtime on other inputs."""
    with quiet():
        source = load_onnx(path)
        inputs = RANDOM.normal(size=(2, *source.input.shape[1:])).astype(np.float32)
        got = run_each(to_function(source.graph.to_graph_def()), inputs)
    np.testing.assert_allclose(got, source.reference(inputs), atol=1e-4)


@OFTEN
@given(windows(dilated=True))
def test_a_convolution_is_onnx_runtimes(one_node, case):
    attributes, size = case
    weights = RANDOM.normal(size=(4, 3, *attributes["kernel_shape"])).astype(np.float32)
    hold(one_node([1, 3, *size], ("Conv", "x w", "y", attributes), arrays={"w": weights}))


@OFTEN
@given(windows(dilated=False), st.integers(0, 1))
def test_a_max_pool_is_onnx_runtimes(one_node, case, ceil):
    attributes, size = case
    hold(one_node([1, 2, *size], ("MaxPool", "x", "y", {**attributes, "ceil_mode": ceil}), opset=19))


@OFTEN
@given(windows(dilated=False), st.integers(0, 1))
def test_an_average_pool_is_onnx_runtimes(one_node, case, include):
    attributes, size = case
    hold(
        one_node(
            [1, 2, *size], ("AveragePool", "x", "y", {**attributes, "count_include_pad": include}), opset=19
        )
    )


@pytest.mark.parametrize(
    ("attributes", "size", "kernel", "places", "same"),
    [
        ({"pads": [1, 1, 1, 1]}, (8, 8), (3, 3), (8, 8), True),
        ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, (8, 8), (3, 3), (4, 4), False),
        ({"pads": [0, 0, 1, 1], "strides": [2, 2]}, (8, 8), (3, 3), (4, 4), True),
        ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, (9, 9), (3, 3), (5, 5), True),
        ({}, (8, 6), (3, 2), (6, 5), False),
        ({}, (4, 4), (1, 1), (4, 4), True),
        ({"auto_pad": b"SAME_UPPER", "strides": [3, 3]}, (8, 8), (5, 5), (3, 3), True),
        ({"auto_pad": b"SAME_LOWER", "strides": [2, 2]}, (8, 8), (3, 3), (4, 4), False),
        ({"auto_pad": b"VALID", "dilations": [2, 2]}, (8, 8), (3, 3), (4, 4), False),
        ({"ceil_mode": 1, "strides": [2, 2]}, (8, 8), (3, 3), (4, 4), True),
    ],
)
def test_places_and_tensorflows_own_padding(attributes, size, kernel, places, same):
    found = window(node(**attributes), size, kernel)
    assert found.places == places
    assert found.same is same
    for i in (0, 1):  # the last window ends where the padding ends
        whole = size[i] + sum(found.pads[i + 1])
        reach = (places[i] - 1) * found.strides[i] + (kernel[i] - 1) * found.dilations[i] + 1
        assert 0 <= whole - reach < found.strides[i]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"pads": [-1, 0, 0, 0]}, r"Conv 'it' pads by \[-1, 0, 0, 0\]"),
        ({}, "has a window of .*, larger than"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(attributes, said):
    with pytest.raises(ConversionError, match=said):
        window(node(**attributes), (2, 9), (3, 3))


def test_a_constant_operand_that_is_not_there_is_named():
    bare = node("Gather")
    for ask in (lambda: bare.fixed(1, "indices"), lambda: bare.value(0)):
        with pytest.raises(ConversionError, match=r"net\.onnx: Gather 'it' lacks"):
            ask()
    assert bare.setting(1, "axes", "axes") is None
    assert node(axes=[1, 2]).setting(1, "axes", "axes") == [1, 2]
    assert node(axis=3).setting(1, "axis", "an axis") == [3]
    assert node(mode=b"linear").text("mode", "nearest") == "linear"
    assert node().text("mode", "nearest") == "nearest"
