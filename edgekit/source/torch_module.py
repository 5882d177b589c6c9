"""A PyTorch module as a source, by way of ONNX.

Only modules that are in memory are taken. To read a .pt2 file runs code that the file may carry: its loader
unpickles weights, constants and example inputs, and evaluates expressions. Load it where you trust it, and
give what you loaded to `source_from_torch`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, MissingExtraError, UsageError
from edgekit.source.carried import IMPORT_SNR_DB
from edgekit.source.onnx.file import checked
from edgekit.source.onnx.source import onnx_source
from edgekit.source.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.source.types import Source


def source_from_torch(module: Any, example: Any, *, name: str | None = None) -> Source:
    """Export a PyTorch network to ONNX, in inference mode, and return it as a source.

    Args:
        module: a torch.nn.Module, left in the mode in which it was; or a torch.export.ExportedProgram.
        example: one input with a batch of 1, a float32 tensor in the module's own layout (NCHW).
        name: the source's; the class's name when left out.

    Returns:
        The source; ONNX recipes are made from the exported network.

    Raises:
        UsageError: an example that does not fit, weights that are not finite, several inputs or outputs.
        ConversionError: PyTorch can't export it; an operation can't be carried over; ONNX gives other outputs
            than PyTorch.
        MissingExtraError: torch or onnxscript is not installed.
    """
    torch = _torch()
    if not isinstance(example, torch.Tensor) or example.dtype != torch.float32 or example.shape[:1] != (1,):
        raise UsageError(
            "the example is no float32 tensor with a batch of 1", hint="give torch.randn(1, 3, 224, 224)"
        )
    called = name or _class_name(module)
    with quiet():
        proto, wanted = _exported(torch, module, example, called)
        shape = tuple(int(n) for n in example.shape)
        source = onnx_source(checked(proto, called), shape, name=called, kind="torch", options={})
        _prove(source, example.detach().cpu().numpy(), wanted)
    trainable = sum(int(p.numel()) for p in module.parameters() if p.requires_grad)
    return dataclasses.replace(source, parameters=trainable)


def _torch() -> Any:
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
        import torch
    except ImportError as error:
        raise MissingExtraError((error.name or "torch").partition(".")[0], "torch") from error
    return torch


def _class_name(module: Any) -> str:
    inner = getattr(module, "graph_module", None)  # an ExportedProgram's
    return type(module if inner is None else inner).__name__


def _exported(torch: Any, module: Any, example: Any, name: str) -> tuple[Any, Any]:
    """Return the network as ONNX, and its outputs for the example."""
    runs = module.module() if isinstance(module, torch.export.ExportedProgram) else module
    with _inference(module), torch.no_grad():
        try:
            wanted = runs(example)
            with contextlib.redirect_stdout(io.StringIO()):
                program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ConversionError(
                f"PyTorch can't export {name} to ONNX ({first[:200]})",
                hint="write forward() without Python branches on values, with one tensor in and one out",
                evidence=str(error),
            ) from error
    if not isinstance(wanted, torch.Tensor):
        raise UsageError(
            f"{name} gives {type(wanted).__name__}, not one tensor", hint="wrap it in a module that picks one"
        )
    return program.model_proto, wanted.detach().cpu().numpy()


@contextlib.contextmanager
def _inference(module: Any) -> Iterator[None]:
    """Put a module and all in it into inference mode for a while."""
    inner = list(module.modules()) if hasattr(module, "modules") else []
    modes = [m.training for m in inner]
    for m in inner:
        m.training = False
    try:
        yield
    finally:
        for m, mode in zip(inner, modes, strict=True):
            m.training = mode


def _prove(source: Source, example: Any, wanted: Any) -> None:
    from edgekit.source.freezing import snr

    if source.reference is None:
        raise ConversionError(f"{source.name} has nothing to be held against")
    found = snr(wanted, source.reference(example))
    if not found >= IMPORT_SNR_DB:
        raise ConversionError(
            f"ONNX gives other outputs than PyTorch for {source.name}: {found:.1f} dB "
            f"(bar {IMPORT_SNR_DB:g} dB)",
            hint="report it with the network and the version of PyTorch",
        )
