"""One TFLite operation on its way into TensorFlow, and the table of those that can go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.source.node import Operation, entering

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[["Node"], Any]

OPERATIONS: dict[str, Handler] = {}
"""What makes TensorFlow's operations of a node, by TFLite's name of the operation."""
operation = entering(OPERATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Operation):
    """An operation with its operands: a tensor where data flows.

    Attributes:
        options: the schema's object, or None.
    """

    options: Any

    def value(self, index: int = 0) -> Any:
        """Return an operand, a tensor or an array."""
        return self.given(index)

    def integers(self, index: int, what: str) -> list[int]:
        """Return a constant operand as integers."""
        return [int(n) for n in self.fixed(index, what).reshape(-1)]

    def option(self, key: str, default: Any = 0) -> Any:
        """Return an option; the schema's default where the file says nothing."""
        return default if self.options is None else getattr(self.options, key)
