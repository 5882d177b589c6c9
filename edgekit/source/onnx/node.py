"""One ONNX node on its way into TensorFlow, and the table of the operations that can go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError
from edgekit.source.axes import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]
    Operand = Value | Array
    Handler = Callable[["Node"], Value | Array | list[Value] | list[Array]]

OPERATIONS: dict[str, Handler] = {}
"""What makes TensorFlow's operations of a node, by ONNX's name of the operation."""


def operation(*names: str) -> Callable[[Handler], Handler]:
    """Enter a function into the table."""

    def enter(handler: Handler) -> Handler:
        for name in names:
            OPERATIONS[name] = handler
        return handler

    return enter


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with its operands.

    Attributes:
        op: ONNX's name of the operation.
        name: the node's, or its first output's where it has none.
        operands: a Value where data flows, an array where all is known, None where nothing is given.
        attributes: by name.
        outputs: how many results it has.
        opset: the version of ONNX's operations.
        source: the network's name, for messages.
    """

    op: str
    name: str
    operands: tuple[Operand | None, ...]
    attributes: dict[str, Any]
    outputs: int
    opset: int
    source: str

    def refusal(self, reason: str, hint: str = "") -> ConversionError:
        """Return the error that names this node."""
        return ConversionError(
            f"{self.source}: {self.op} {self.name!r} {reason}",
            hint=hint or "write it otherwise and export the network again",
        )

    def has(self, index: int) -> bool:
        """Tell whether an operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def value(self, index: int = 0) -> Value:
        """Return an operand as a Value, whatever it is."""
        import tensorflow as tf

        operand = self.operands[index] if index < len(self.operands) else None
        if isinstance(operand, Value):
            return operand
        if operand is None:
            raise self.refusal(f"lacks its input {index}")
        return Value(tensor=tf.constant(operand), order=tuple(range(operand.ndim)))

    def fixed(self, index: int, what: str) -> Array:
        """Return an operand that has to be constant."""
        operand = self.operands[index] if index < len(self.operands) else None
        if not isinstance(operand, np.ndarray):
            raise self.refusal(
                f"is given {what} that the network computes" if self.has(index) else f"lacks {what}"
            )
        return operand

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
