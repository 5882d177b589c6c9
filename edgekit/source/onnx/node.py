"""One ONNX node on its way into TensorFlow, and the table of the operations that can go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.source.axes import Value
from edgekit.source.node import Operation, entering

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Array = np.ndarray[Any, Any]
    Operand = Value | Array
    Handler = Callable[["Node"], Value | Array | list[Value] | list[Array]]

OPERATIONS: dict[str, Handler] = {}
"""What makes TensorFlow's operations of a node, by ONNX's name of the operation."""
operation = entering(OPERATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Operation):
    """A node with its operands: a Value where data flows.

    Attributes:
        attributes: by name.
        opset: the version of ONNX's operations.
    """

    again: ClassVar[str] = "export"

    attributes: dict[str, Any]
    opset: int

    def value(self, index: int = 0) -> Value:
        """Return an operand as a Value, whatever it is."""
        import tensorflow as tf

        operand = self.given(index)
        if isinstance(operand, Value):
            return operand
        return Value(tensor=tf.constant(operand), order=tuple(range(operand.ndim)))

    def setting(self, index: int, key: str, what: str) -> list[int] | None:
        """Return integers that older versions keep in an attribute and newer ones in an operand."""
        if key in self.attributes:
            found = self.attributes[key]
            return [int(n) for n in found] if isinstance(found, (list, tuple)) else [int(found)]
        return [int(n) for n in self.fixed(index, what).reshape(-1)] if self.has(index) else None

    def text(self, key: str, default: str) -> str:
        """Return an attribute that is a word."""
        found = self.attributes.get(key, default)
        return found.decode() if isinstance(found, bytes) else str(found)
