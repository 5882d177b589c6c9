"""The operations of ML programs that are evaluated here, by name, and what each is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, UnknownNameError
from edgekit.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgekit.convert.mil.values import Array


class Given:
    """The inputs of one operation by name, values or lists of them; what is left out has its default.

    Args:
        values: the inputs.
        dtype: what the program declares its first output to be.
    """

    def __init__(self, values: Mapping[str, Any], dtype: str = "float32") -> None:
        self._values = values
        self.dtype = dtype

    def __getitem__(self, name: str) -> Array:
        if name not in self._values:
            raise ConversionError(f"its input {name!r} is missing")
        found: Array = self._values[name]
        return found

    def array(self, name: str) -> Array | None:
        """Return an input that may be left out."""
        return self._values.get(name)

    def ints(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """Return a vector of whole numbers; a scalar counts as a vector of one."""
        value = self._values.get(name)
        if value is None and default is not None:
            return list(default)
        return [int(n) for n in self[name].reshape(-1)]

    def flags(self, name: str, count: int) -> list[bool]:
        """Return a vector of truth values, all false when left out."""
        return [bool(n) for n in self.ints(name, [0] * count)]

    def integer(self, name: str, default: int | None = None) -> int:
        """Return a whole number."""
        return self.ints(name, None if default is None else [default])[0]

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        value = self._values.get(name)
        return default if value is None else float(value.reshape(-1)[0])

    def flag(self, name: str) -> bool:
        """Return a truth value, false when left out."""
        return self.flags(name, 1)[0]

    def text(self, name: str, default: str) -> str:
        """Return a word."""
        return str(self._values.get(name, default))

    def many(self, name: str) -> list[Array]:
        """Return an input that takes several values."""
        value: Any = self[name]
        return list(value) if isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """How an operation is evaluated.

    Attributes:
        evaluate: from its inputs to its output, or a tuple of its outputs.
        exact: whether it only moves or picks values, so that nothing needs to be rounded.
    """

    evaluate: Callable[[Given], Any]
    exact: bool = False


OPERATIONS: Registry[Operation] = Registry("Core ML operation", refuse=UnknownNameError)
"""Filled by the modules of this folder, which `operations` imports."""


def evaluates(*names: str, exact: bool = False) -> Callable[[Callable[[Given], Any]], Callable[[Given], Any]]:
    """Return a decorator that adds a function to the registry under these names."""

    def keep(function: Callable[[Given], Any]) -> Callable[[Given], Any]:
        for name in names:
            OPERATIONS.add(name, Operation(evaluate=function, exact=exact))
        return function

    return keep


def operations() -> Mapping[str, Any]:
    """Return every operation that is evaluated here, by name."""
    from edgekit.convert.mil import (  # noqa: F401 - each fills the registry
        conv,
        packed,
        pick,
        pointwise,
        pool,
        reduce,
        resize,
        shape,
    )

    return OPERATIONS.entries
