"""Make a source ready for every format, once: constants computed, groups split, batch norm folded, proved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError
from edgekit.source.evaluate import evaluate_constants, mark_static_shapes
from edgekit.source.fold import fold_batch_norm, split_fused_batch_norm, split_groups
from edgekit.source.hoist import hoist_activations
from edgekit.source.memory import give_back
from edgekit.source.quiet import quiet
from edgekit.source.running import run_graph
from edgekit.source.trace import to_function
from edgekit.source.types import FrozenGraph, Source

if TYPE_CHECKING:
    import numpy as np

FOLD_SNR_DB = 80.0
"""The bar on folding. It only reorders float32 sums: 95 dB and more were measured on networks of 200 layers;
a wrong fold is below 20 dB."""
_TRIALS = 2


def freeze(source: Source) -> FrozenGraph:
    """Fold a source's batch norms into its weights and prove that the outputs stay.

    Args:
        source: from `load_source`.

    Returns:
        The frozen graph; its function takes and returns float32.

    Raises:
        ConversionError: the folded graph differs from the unfolded one.
    """
    import numpy as np

    with quiet():
        graph = source.graph.copy()
        split_groups(graph)
        plain = graph.to_graph_def()
        mark_static_shapes(graph)
        evaluate_constants(graph)
        fused = split_fused_batch_norm(graph)
        folded = fold_batch_norm(graph) + fused
        hoist_activations(graph)
        graph_def = graph.to_graph_def()
        snr_db = _prove(source, graph_def, plain)
        weights = {name: (op, np.asarray(value, np.float32)) for name, op, value in graph.weights()}
        give_back()
    return FrozenGraph(
        source=source,
        graph_def=graph_def,
        function=to_function(graph_def),
        reference=plain,
        weights=weights,
        folded=folded,
        snr_db=snr_db,
    )


def _prove(source: Source, folded: Any, plain: Any) -> float:
    import numpy as np

    generator, shape = np.random.default_rng(0), (_TRIALS, *source.input.shape[1:])
    fused = source.fused is not None
    noise = (generator.integers(0, 256, shape) if fused else generator.normal(size=shape)).astype(np.float32)
    before, after = run_graph(plain, noise), run_graph(folded, noise)
    found = snr(before, after)
    if not found >= FOLD_SNR_DB:
        raise ConversionError(
            f"folding batch norm changes what {source.name} gives: {found:.1f} dB, bar {FOLD_SNR_DB:g} dB",
            hint="report it with the network: its weights may be near the limits of float32",
        )
    return found


def snr(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> float:
    """Return 10 log10(signal power / error power) in dB, 200 at most; nan when something is not finite."""
    import numpy as np

    signal = float(np.sum(np.square(wanted, dtype=np.float64)))
    error = float(np.sum(np.square(wanted.astype(np.float64) - got.astype(np.float64))))
    if not math.isfinite(signal) or not math.isfinite(error):
        return math.nan
    if error <= signal * 1e-20:
        return 200.0
    return 10.0 * math.log10(signal / error) if signal > 0 else -200.0
