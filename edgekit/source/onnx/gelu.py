"""Find x * (1 + erf(x / sqrt(2))) / 2, as exporters write it, and call it Gelu again.

TFLite and Core ML know Gelu; the error function alone TFLite does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

_NEAR = 1e-3


@dataclass(frozen=True, slots=True)
class _Graph:
    """Who makes and who reads each tensor, and what the constant ones hold."""

    makers: Mapping[str, Any]
    readers: Mapping[str, list[Any]]
    constants: Mapping[str, np.ndarray[Any, Any]]

    def other(self, node: Any, name: str) -> str:
        """Return the other operand of a node of two."""
        return str(node.input[1] if node.input[0] == name else node.input[0])

    def number(self, name: str) -> float:
        """Return a constant that is one number; nan otherwise."""
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else math.nan

    def only(self, name: str, op: str) -> Any:
        """Return the only reader of a tensor where it is this operation."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == op else None

    def scaled(self, name: str, by: float) -> str | None:
        """Return what a tensor is this multiple of."""
        node = self.makers.get(name)
        if node is None or node.op_type not in ("Mul", "Div"):
            return None
        for base in node.input if node.op_type == "Mul" else node.input[:1]:
            number = self.number(self.other(node, base))
            if math.isclose(number if node.op_type == "Mul" else 1 / number, by, rel_tol=_NEAR):
                return str(base)
        return None


def gelus(graph: Any, constants: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, str]:
    """Return the tensors that are Gelus, each with what it is the Gelu of.

    Args:
        graph: a GraphProto.
        constants: arrays by name, those of Constant nodes included.
    """
    makers = {out: node for node in graph.node for out in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    held = _Graph(makers, readers, constants)
    for node in graph.node:
        made = _gelu(held, node) if node.op_type == "Erf" else None
        if made is not None:
            found[made[0]] = made[1]
    return found


def _gelu(graph: _Graph, erf: Any) -> tuple[str, str] | None:
    """Return the Gelu around an error function and its input."""
    base = graph.scaled(erf.input[0], 1 / math.sqrt(2))
    added = graph.only(erf.output[0], "Add")
    if base is None or added is None or graph.number(graph.other(added, erf.output[0])) != 1.0:
        return None
    raised = added.output[0]
    for last in graph.readers.get(raised, []):
        if last.op_type != "Mul":
            continue
        other = graph.other(last, raised)
        if other == base or graph.number(other) == 1 / 2:  # the other factor is still to come
            final = graph.only(last.output[0], "Mul")
            rest = None if final is None else graph.other(final, last.output[0])
            if rest is not None and (graph.number(rest) == 1 / 2 if other == base else rest == base):
                return str(final.output[0]), base
        if graph.scaled(other, 1 / 2) == base:
            return str(last.output[0]), base
    return None
