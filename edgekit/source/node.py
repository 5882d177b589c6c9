"""One operation of a network that was read, on its way into TensorFlow: what all formats have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

Handler = TypeVar("Handler")


def entering(table: dict[str, Handler]) -> Callable[..., Callable[[Handler], Handler]]:
    """Return a decorator that enters a function into a table, under each of the names that it is given."""

    def operation(*names: str) -> Callable[[Handler], Handler]:
        def enter(handler: Handler) -> Handler:
            table.update(dict.fromkeys(names, handler))
            return handler

        return enter

    return operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation with its operands.

    Attributes:
        op: the format's name of it.
        name: its own, or its first output's.
        operands: what flows, an array where all is known, None where nothing is given.
        outputs: how many results it has.
        source: the network's name, for messages.
    """

    again: ClassVar[str] = "convert"
    """What a user does to the network to get another file."""

    op: str
    name: str
    operands: tuple[Any, ...]
    outputs: int
    source: str

    def refusal(self, reason: str, hint: str = "") -> ConversionError:
        """Return the error that names this operation."""
        return ConversionError(
            f"{self.source}: {self.op} {self.name!r} {reason}",
            hint=hint or f"write it otherwise and {self.again} the network again",
        )

    def has(self, index: int) -> bool:
        """Tell whether an operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def given(self, index: int) -> Any:
        """Return an operand that has to be there."""
        if not self.has(index):
            raise self.refusal(f"lacks its input {index}")
        return self.operands[index]

    def fixed(self, index: int, what: str) -> Array:
        """Return an operand that has to be constant."""
        if not self.has(index):
            raise self.refusal(f"lacks {what}")
        operand = self.operands[index]
        if not isinstance(operand, np.ndarray):
            raise self.refusal(f"is given {what} that the network computes")
        return operand
