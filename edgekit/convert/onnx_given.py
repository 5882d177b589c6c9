"""An ONNX source on its way to an ONNX artifact: the user's own network, not one made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from edgekit.source import Source

QUANTIZABLE = 13
"""The first opset that quantizes by channel."""
NEWER = 17


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
        return proto
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, NEWER)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ConversionError(
            f"a network of opset {opset_of(proto)} can't be lifted to opset {NEWER} ({str(error)[:160]})",
            hint=f"export it with opset {NEWER}, or ask for onnx-fp32 and onnx-fp16",
            evidence=str(error),
        ) from error
