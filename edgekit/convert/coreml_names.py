"""Names in a Core ML program that do not depend on the process.

coremltools numbers the constants that it makes as its passes come by them, and some passes come by them in
the order of memory addresses: the same program has "const_51" where another process has "const_61".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTED = re.compile(r"const_(\d+)(?!\d)")


def number_constants(spec: Any) -> None:
    """Number the constants of a program in the order in which it has them.

    Args:
        spec: a Model message with an ML program; changed in place. "const_7_to_fp16" keeps its end.
    """
    numbers: dict[str, str] = {}
    blocks = [
        block
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
    ]
    for operation in (o for block in blocks for o in _operations(block)):
        for argument in (a for value in operation.inputs.values() for a in value.arguments):
            if argument.name:
                argument.name = _renamed(argument.name, numbers)
        for output in operation.outputs:
            output.name = _renamed(output.name, numbers)
        if "name" in operation.attributes:
            strings = operation.attributes["name"].immediateValue.tensor.strings.values
            strings[:] = [_renamed(name, numbers) for name in strings]
    for block in blocks:
        block.outputs[:] = [_renamed(name, numbers) for name in block.outputs]


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _renamed(name: str, numbers: dict[str, str]) -> str:
    found = _COUNTED.match(name)
    if found is None:
        return name
    return f"const_{numbers.setdefault(found[1], str(len(numbers)))}{name[found.end() :]}"
