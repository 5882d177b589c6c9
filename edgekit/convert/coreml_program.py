"""A frozen graph as a Core ML program, and programs as packages.

coremltools reads the graph once; every precision starts from a copy of that one float32 program. Its passes
are run one after another without its check of the whole program after each, which takes as long as all of
them together; each stage is checked at its end.

coremltools numbers what its passes make by a counter that is the process's. It starts anew with each program
and each copy here, so that names do not depend on what was converted before.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError
from edgekit.source.lean import imports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgekit.source import FrozenGraph

HALVED = "common::add_fp16_cast"
_INTEGERS = "common::add_int16_cast"
_PACKED = "constexpr_"
"""How the kinds of packed constants begin."""
_TIDY = (
    "common::dead_code_elimination",
    "common::const_elimination",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::const_elimination",
    "common::const_deduplication",
    "common::noop_elimination",
    "common::dedup_op_and_var_names",
    "common::remove_redundant_ops",
    "common::topological_reorder",
    "common::dead_code_elimination",
)
"""What may have to be done after a precision was changed; the float32 program is in its final form before."""


def coremltools() -> Any:
    """Return the library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with imports():
            import coremltools as library
    except ImportError as error:
        raise MissingExtraError("coremltools", "convert") from error
    return library


def float_program(frozen: FrozenGraph, target: str) -> Any:
    """Return a graph as a program in 32-bit floats, by coremltools' own front end and default passes.

    Args:
        frozen: the graph.
        target: the oldest system that the program is for ("iOS16").
    """
    import numpy as np

    library = coremltools()
    from coremltools.converters.mil.frontend.tensorflow2.load import TF2Loader
    from coremltools.converters.mil.mil import Builder

    Builder.name_count.clear()

    class Loader(TF2Loader):  # type: ignore[misc]
        """coremltools' own, without freezing and folding what is frozen and folded."""

        def _graph_def_from_model(self, output_names: Any = None) -> Any:
            return self.extract_sub_graph(self.model[0].graph.as_graph_def(add_shapes=True), output_names)

    loader = Loader(
        [frozen.function],
        debug=False,
        inputs=[library.TensorType(name="input", shape=frozen.source.input.shape, dtype=np.float32)],
        outputs=[library.TensorType(name="output", dtype=np.float32)],
        specification_version=library.target[target],
        use_default_fp16_io=False,
    )
    pipelines = library.PassPipeline
    front = pipelines.get_pipeline("frontend_tensorflow2").passes
    common = [name for name in pipelines.DEFAULT.passes if name not in (HALVED, _INTEGERS)]
    with _unhindered():
        program = loader.load()
        apply(program, (*front, *common))
    return program


def copied(program: Any, target: str | None = None, constants: Mapping[Any, Any] | None = None) -> Any:
    """Return a copy of a program of one function and no inner blocks, operation by operation.

    Python's own deep copy goes from reader to reader and ends in a RecursionError for 100 layers.

    Args:
        program: the program.
        target: the oldest system that the copy is for; the program's own when left out.
        constants: other values of constants, by their tensors.
    """
    from coremltools.converters.mil.mil import Builder, Function, Program

    Builder.name_count.clear()
    old = program.functions["main"]
    opset = old.opset_version if target is None else coremltools().target[target]
    inputs = {n: Builder.placeholder(shape=v.shape, dtype=v.dtype, name=n) for n, v in old.inputs.items()}
    with Function(inputs, opset_version=opset) as new:
        held = {var: new.inputs[name] for name, var in old.inputs.items()}
        for operation in old.operations:
            held |= zip(operation.outputs, _again(operation, held, constants or {}), strict=True)
        new.set_outputs([held[var] for var in old.outputs])
        new.output_types, new.input_types = copy.copy(old.output_types), copy.copy(old.input_types)
    found = Program()
    found.add_function("main", new)
    return found


def _again(operation: Any, held: dict[Any, Any], constants: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Make an operation once more, with the copies of its inputs; return its outputs."""
    from coremltools.converters.mil.mil import Builder

    if operation.op_type == "const":
        value = constants.get(operation.outputs[0], operation.val.val)
        made = Builder.const(val=value, name=operation.name)
    else:
        taken = {
            key: tuple(held[v] for v in value) if isinstance(value, (list, tuple)) else held[value]
            for key, value in operation.inputs.items()
        }
        made = getattr(Builder, operation.op_type)(**taken, name=operation.name)
    outputs = tuple(made) if isinstance(made, (list, tuple)) else (made,)
    for var, old in zip(outputs, operation.outputs, strict=True):
        var.name = old.name
    return outputs


def halved(program: Any) -> Any:
    """Return a copy in 16-bit floats between its float32 input and output."""
    found = copied(program)
    packed = any(o.op_type.startswith(_PACKED) for o in found.functions["main"].operations)
    with contextlib.nullcontext() if packed else _unhindered():
        apply(found, (HALVED, "common::update_output_dtypes", *_TIDY))
    return found


@contextlib.contextmanager
def _unhindered() -> Iterator[None]:
    """Let passes run over a program without packed constants, and leave out what they do in vain.

    Whenever a block is left, coremltools goes over all of it to tell which values depend on packed constants;
    none does here. And it writes whole programs out as text for messages that nobody asked for. Both together
    take as long as the passes themselves.
    """
    from coremltools.converters.mil.mil.block import Block, Function

    kept = [(Block, "_propagate_nonreplaceable_vars"), (Function, "to_str")]
    before = [getattr(owner, name) for owner, name in kept]
    replaced = (lambda _: None, lambda block, *_, **__: str(block.name))
    try:
        for (owner, name), method in zip(kept, replaced, strict=True):
            setattr(owner, name, method)
        yield
    finally:
        for (owner, name), method in zip(kept, before, strict=True):
            setattr(owner, name, method)


def apply(program: Any, passes: Sequence[str]) -> None:
    """Change a program by coremltools' passes, and check it once at the end."""
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    for name in passes:
        PASS_REGISTRY[name](program)
    program.validate()


def write(program: Any, path: Path, target: str) -> None:
    """Write a program as a package, a copy of it changed as the file format needs."""
    library = coremltools()
    from coremltools.converters.mil.converter import mil_convert

    program = copied(program)
    names = library.PassPipeline.get_pipeline("backend_mlprogram").passes
    apply(program, names)
    mil_convert(
        program,
        convert_from="milinternal",
        convert_to="mlprogram",
        compute_units=library.ComputeUnit.ALL,
        specification_version=library.target[target],
        main_pipeline=library.PassPipeline.EMPTY,
        package_dir=str(path),
        skip_model_load=True,
    )
