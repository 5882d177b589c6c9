"""One TFLite operation on its way into TensorFlow, and the table of those that can go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[["Node"], Any]

OPERATIONS: dict[str, Handler] = {}
"""What makes TensorFlow's operations of a node, by TFLite's name of the operation."""


def operation(*names: str) -> Callable[[Handler], Handler]:
    """Enter a function into the table."""

    def enter(handler: Handler) -> Handler:
        for name in names:
            OPERATIONS[name] = handler
        return handler

    return enter


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operation with its operands.

    Attributes:
        op: TFLite's name of it.
        name: of its first output.
        operands: a tensor where data flows, an array where all is known, None where nothing is given.
        options: the schema's object, or None.
        outputs: how many results it has.
        source: the network's name, for messages.
    """

    op: str
    name: str
    operands: tuple[Any, ...]
    options: Any
    outputs: int
    source: str

    def refusal(self, reason: str, hint: str = "") -> ConversionError:
        """Return the error that names this operation."""
        return ConversionError(
            f"{self.source}: {self.op} {self.name!r} {reason}",
            hint=hint or "write it otherwise and convert the network again",
        )

    def has(self, index: int) -> bool:
        """Tell whether an operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def value(self, index: int = 0) -> Any:
        """Return an operand, a tensor or an array."""
        if not self.has(index):
            raise self.refusal(f"lacks its input {index}")
        return self.operands[index]

    def fixed(self, index: int, what: str) -> np.ndarray[Any, Any]:
        """Return an operand that has to be constant."""
        found = self.value(index)
        if not isinstance(found, np.ndarray):
            raise self.refusal(f"is given {what} that the network computes")
        return found

    def integers(self, index: int, what: str) -> list[int]:
        """Return a constant operand as integers."""
        return [int(n) for n in self.fixed(index, what).reshape(-1)]

    def option(self, key: str, default: Any = 0) -> Any:
        """Return an option; the schema's default where the file says nothing."""
        return default if self.options is None else getattr(self.options, key)
