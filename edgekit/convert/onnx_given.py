"""An ONNX source on its way to an ONNX artifact: the user's own network, not one made anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.source import Source

QUANTIZABLE = 13
"""The first opset that quantizes by channel."""
NEWER = 17
_PLACED = 11
"""The first opset whose Resize says where points lie; before, they lie at their corners."""
_PLACE = "coordinate_transformation_mode"


def given(source: Source) -> Any:
    """Return the network that an ONNX source is, with its own names and operations.

    It has a batch of 1, static shapes and all weights inside; what an exporter noted of its own source code
    is taken out.
    """
    proto = type(source.proto)()
    proto.CopyFrom(source.proto)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        del value.metadata_props[:]
    return proto


def opset_of(proto: Any) -> int:
    """Return the version of ONNX's own operations that a network uses."""
    return int(next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")))


def quantizable(proto: Any) -> Any:
    """Return the network in an opset that quantizes by channel: itself, or lifted to a newer one.

    Raises:
        ConversionError: onnx can't lift it.
    """
    if opset_of(proto) >= QUANTIZABLE:
        return _plain_gemms(proto)
    from onnx import helper, version_converter

    try:
        lifted = version_converter.convert_version(proto, NEWER)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ConversionError(
            f"a network of opset {opset_of(proto)} can't be lifted to opset {NEWER} ({str(error)[:160]})",
            hint=f"export it with opset {NEWER}, or ask for onnx-fp32 and onnx-fp16",
            evidence=str(error),
        ) from error
    if opset_of(proto) < _PLACED:
        for node in lifted.graph.node:
            if node.op_type == "Resize" and not any(a.name == _PLACE for a in node.attribute):
                node.attribute.append(helper.make_attribute(_PLACE, "asymmetric"))
                node.attribute.append(helper.make_attribute("nearest_mode", "floor"))
    return _plain_gemms(lifted)


def _plain_gemms(proto: Any) -> Any:
    """Return the network with each Gemm's bias one row, and no factors: the quantizer knows no other.

    The network itself where there is nothing to do.
    """
    import numpy as np
    from onnx import numpy_helper

    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = [index for index, node in enumerate(proto.graph.node) if _odd(node, held)]
    if not found:
        return proto
    changed = type(proto)()
    changed.CopyFrom(proto)
    for index in found:
        node = changed.graph.node[index]
        settings = {a.name: a for a in node.attribute}
        turned = "transB" in settings and settings["transB"].i
        width = held[node.input[1]].dims[0 if turned else 1]
        for place, factor in ((1, "alpha"), (2, "beta")):
            value = numpy_helper.to_array(held[node.input[place]])
            value = value * np.float32(settings[factor].f if factor in settings else 1.0)
            if place == 2:  # noqa: PLR2004 - the bias
                value = np.broadcast_to(value.reshape(-1), (width,))
            name = f"{node.output[0]}/{factor}"
            changed.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            node.input[place] = name
        for at in reversed(range(len(node.attribute))):
            if node.attribute[at].name in ("alpha", "beta"):
                del node.attribute[at]
    return changed


def _odd(node: Any, held: Mapping[str, Any]) -> bool:
    """Tell whether a Gemm of constants has factors, or a bias that is no row."""
    if node.op_type != "Gemm" or len(node.input) < 3 or any(n not in held for n in node.input[1:]):  # noqa: PLR2004
        return False
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    width, bias = held[node.input[1]].dims[0 if turned else 1], list(held[node.input[2]].dims)
    fits = math.prod(bias) in (1, width)
    return fits and (bias != [width] or any(a.name in ("alpha", "beta") and a.f != 1 for a in node.attribute))
