"""Evaluate a Core ML package's program op by op, in numpy.

This proves the program: its operations, their settings and its weights as they are stored, compressed ones
included, in the program's declared precision (each value rounded to its declared type after every operation,
sums kept in float32). It is not Apple's runtime and says nothing about a device: there, the order of sums,
fused operations and the compute unit's own arithmetic may differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.threads import one_thread
from edgekit.errors import ConversionError, MissingExtraError, ParityError
from edgekit.source.lean import imports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.convert.mil.operations import Operation
    from edgekit.convert.mil.values import Blobs

_NUMERIC = (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError, ArithmeticError, AttributeError)
"""What an operation raises whose inputs or settings make no sense together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor of a program: its name, numpy's name of its type, its shape (None when not fixed)."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation of a program.

    Attributes:
        kind: its name in MIL ("conv").
        operation: how it is evaluated.
        inputs: the names of the values it takes, by its inputs' names; a list where it takes several.
        outputs: what it gives.
        frees: the values that nothing needs after it.
    """

    kind: str
    operation: Operation
    inputs: Mapping[str, str | list[str]]
    outputs: tuple[Value, ...]
    frees: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"op {self.kind!r} (output {self.outputs[0].name!r})"

    def evaluate(self, values: Mapping[str, Any]) -> list[Any]:
        """Return its outputs as their declared types hold them.

        Raises:
            ConversionError: its inputs do not fit, or its outputs are not what the program declares.
        """
        from edgekit.convert.mil.operations import Given
        from edgekit.convert.mil.values import settle

        taken = {
            name: [values[n] for n in source] if isinstance(source, list) else values[source]
            for name, source in self.inputs.items()
        }
        try:
            found = self.operation.evaluate(Given(taken, self.outputs[0].dtype))
        except ConversionError as error:
            raise ConversionError(f"{self} can't be evaluated here: {error}", hint=error.hint) from error
        except _NUMERIC as error:
            raise ConversionError(
                f"{self} fails: {str(error)[:150]}", hint="the package is damaged: convert again"
            ) from error
        results = list(found) if isinstance(found, tuple) else [found]
        if len(results) != len(self.outputs):
            raise ConversionError(f"{self} gives {len(results)} outputs, the program {len(self.outputs)}")
        for value, result in zip(self.outputs, results, strict=True):
            if value.shape is not None and value.shape != result.shape:
                raise ConversionError(
                    f"{self} gives the shape {result.shape}, the program says {value.shape}",
                    hint="the package is damaged: convert again",
                )
        return [
            settle(r, "float32" if self.operation.exact and v.dtype == "float16" else v.dtype)
            for v, r in zip(self.outputs, results, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The main function of an ML program, ready to be evaluated.

    Attributes:
        inputs: what it takes.
        outputs: the names of what it gives.
        constants: what does not depend on its inputs, worked out once.
        nodes: what does, in order.
        kinds: how often each operation occurs, constants included.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Any]
    nodes: tuple[Node, ...]
    kinds: Counter[str]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Evaluate once.

        Args:
            inputs: by name, each in its declared shape.

        Returns:
            The outputs by name, half floats as float32.

        Raises:
            ConversionError: an input is missing or of another shape, or an operation fails; it is named.
        """
        found = {name: value for name, value in self.steps(inputs) if name in self.outputs}
        return {name: found[name] if name in found else self.constants[name] for name in self.outputs}

    def steps(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Evaluate once, and yield each input and each value as it is computed, with its name.

        Raises:
            ConversionError: as `run`.
        """
        import numpy as np

        values: dict[str, Any] = dict(self.constants)
        for value in self.inputs:
            values[value.name] = _fitting(inputs, value)
            yield value.name, values[value.name]
        for node in self.nodes:
            with np.errstate(all="ignore"):
                results = node.evaluate(values)
            for output, found in zip(node.outputs, results, strict=True):
                values[output.name] = found
                yield output.name, found
            for name in node.frees:
                del values[name]


def evaluate(package: Path, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Evaluate a package op by op, not by Core ML; see the module's text for what that proves.

    Args:
        package: the .mlpackage folder, of one input and one output.
        inputs: float32, N x the input's shape without its batch of 1.

    Returns:
        float32, N x the output's shape without its batch.

    Raises:
        ConversionError: the package can't be read, the program has several inputs or outputs, or it has an
            operation that is not evaluated here; it is named.
        ParityError: an output is not finite; the first operation that left the range is named.
    """
    import numpy as np

    program = load(package)
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise ConversionError(
            f"{package.name} has {len(program.inputs)} inputs and {len(program.outputs)} outputs; "
            "one of each is compared here",
            hint="convert a network with one input and one output",
        )
    (value,), (output,) = program.inputs, program.outputs
    if value.shape is None or value.shape[0] != 1 or inputs.shape[1:] != value.shape[1:]:
        raise ConversionError(
            f"{package.name} takes inputs of the shape {value.shape}, not {(1, *inputs.shape[1:])}",
            hint="give inputs of its shape",
        )
    with one_thread():
        found = [program.run({value.name: one[None]})[output] for one in inputs]
    for one, result in zip(inputs, found, strict=True):
        if not np.isfinite(result).all():
            raise _overflow(program, {value.name: one[None]})
    return np.concatenate(found).astype(np.float32, copy=False)


def _overflow(program: Program, inputs: Mapping[str, np.ndarray[Any, Any]]) -> ParityError:
    """Return the error that names the first operation whose result is not finite."""
    import numpy as np

    largest, nodes = {}, {output.name: node for node in program.nodes for output in node.outputs}
    for name, value in program.steps(inputs):
        largest[name] = float(np.max(np.abs(value.astype(np.float32)), initial=0.0))
        if not np.isfinite(value).all():
            break
    node = nodes[name]
    taken = max((largest[n] for n in _names(node) if n in largest), default=0.0)
    return ParityError(
        f"the Core ML program leaves the range of its numbers: {node} is the first whose result is not "
        f"finite (its input reaches {taken:.4g}; 16-bit floats end at 65504)",
        hint="use coreml-fp32",
    )


def op_kinds(package: Path) -> Counter[str]:
    """Return how often each operation occurs in a package's program, constants included.

    Raises:
        ConversionError: the package can't be read.
    """
    operations, _, _ = _block(read_spec(package).mlProgram.functions["main"])
    return Counter(o.type for o in operations)


def load(package: Path, spec: Any = None) -> Program:
    """Read a package, and work out what does not depend on its inputs.

    Args:
        package: the .mlpackage folder.
        spec: what `read_spec` returned for it, when it was read already.

    Raises:
        ConversionError: it can't be read, or has an operation that is not evaluated here; it is named.
    """
    import numpy as np

    from edgekit.convert.mil.values import Blobs, constant

    spec = read_spec(package) if spec is None else spec
    operations, inputs, outputs = _block(spec.mlProgram.functions["main"])
    blobs = Blobs(package)
    constants: dict[str, Any] = {}
    nodes: list[Node] = []
    with np.errstate(all="ignore"):
        for proto in operations:
            if proto.type == "const":
                constants[proto.outputs[0].name] = constant(proto.attributes["val"], blobs)
                continue
            node = _node(proto, constants, blobs)
            if all(name in constants for name in _names(node)):
                found = node.evaluate(constants)
                constants.update(zip((o.name for o in node.outputs), found, strict=True))
            else:
                nodes.append(node)
    return Program(
        inputs=tuple(inputs),
        outputs=outputs,
        constants=constants,
        nodes=tuple(_with_frees(nodes, constants, outputs)),
        kinds=Counter(o.type for o in operations),
    )


def read_spec(package: Path) -> Any:
    """Return a package's specification, that of an ML program.

    Raises:
        ConversionError: it can't be read, or holds no ML program.
    """
    try:
        with imports():
            from coremltools.proto import Model_pb2
            from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError("coremltools", "convert") from error
    path = next(package.rglob("*.mlmodel"), None)
    if path is None:
        raise ConversionError(f"{package} holds no Core ML model", hint="convert again")
    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ConversionError(f"{path} can't be read as a Core ML model", hint="convert again") from error
    if spec.WhichOneof("Type") != "mlProgram" or "main" not in spec.mlProgram.functions:
        raise ConversionError(
            f"{package.name} holds {spec.WhichOneof('Type')}, no ML program", hint="convert to an ML program"
        )
    return spec


def _block(function: Any) -> tuple[Sequence[Any], list[Value], tuple[str, ...]]:
    """Return a function's operations, its inputs and its outputs' names."""
    block = function.block_specializations.get(function.opset)
    if block is None:
        raise ConversionError(
            f"the Core ML program lacks its block for {function.opset}", hint="convert again"
        )
    return block.operations, [_value(i) for i in function.inputs], tuple(block.outputs)


def _value(named: Any) -> Value:
    from edgekit.convert.mil.values import type_of

    dtype, shape = type_of(named.type)
    return Value(name=named.name, dtype=dtype, shape=shape)


def _node(proto: Any, constants: dict[str, Any], blobs: Blobs) -> Node:
    """Return an operation; values that stand in its own attributes or arguments become constants."""
    from edgekit.convert.mil.operations import OPERATIONS, operations

    kind = str(proto.type)
    name = proto.outputs[0].name if proto.outputs else ""
    if kind not in operations():
        raise ConversionError(
            f"the Core ML program can't be evaluated here: op {kind!r} (output {name!r})",
            hint="replace it by another operation, or prove the package on an Apple device",
        )
    inputs: dict[str, str | list[str]] = {}
    for key, value in proto.attributes.items():
        if key != "name":
            inputs[key] = _inline(value, f"{name}.{key}", constants, blobs)
    for key, argument in proto.inputs.items():
        found = [
            b.name
            if b.WhichOneof("binding") == "name"
            else _inline(b.value, f"{name}.{key}.{i}", constants, blobs)
            for i, b in enumerate(argument.arguments)
        ]
        inputs[key] = found[0] if len(found) == 1 and key != "values" else found
    outputs = tuple(_value(o) for o in proto.outputs)
    return Node(kind=kind, operation=OPERATIONS.get(kind), inputs=inputs, outputs=outputs)


def _inline(value: Any, name: str, constants: dict[str, Any], blobs: Blobs) -> str:
    from edgekit.convert.mil.values import constant

    constants[name] = constant(value, blobs)
    return name


def _names(node: Node) -> Iterator[str]:
    for source in node.inputs.values():
        yield from source if isinstance(source, list) else [source]


def _with_frees(nodes: list[Node], constants: Mapping[str, Any], outputs: Sequence[str]) -> Iterator[Node]:
    """Yield the nodes with the values that nothing needs after each."""
    import dataclasses

    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in (*_names(node), *(o.name for o in node.outputs)):
            last[name] = index
    kept = {*constants, *outputs}
    for index, node in enumerate(nodes):
        ends = {n for n in (*_names(node), *(o.name for o in node.outputs)) if last[n] == index}
        yield dataclasses.replace(node, frees=tuple(sorted(ends - kept)))


def _fitting(inputs: Mapping[str, np.ndarray[Any, Any]], value: Value) -> np.ndarray[Any, Any]:
    from edgekit.convert.mil.values import settle

    if value.name not in inputs:
        raise ConversionError(
            f"the Core ML program's input {value.name!r} is not given", hint="give every input"
        )
    found = inputs[value.name]
    if value.shape is not None and found.shape != value.shape:
        raise ConversionError(
            f"the Core ML program's input {value.name!r} has the shape {value.shape}, not {found.shape}",
            hint="give inputs of its shape",
        )
    return settle(found, value.dtype)
