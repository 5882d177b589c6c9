"""Run TensorFlow functions that are run a few dozen times: what optimizing them costs is never won back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgekit.source.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

_SWITCH = "disable_meta_optimizer"


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Let functions run as they are written, without TensorFlow's optimizer, while the block runs.

    On MobileNetV2 it takes 0.15 s a function and as much again for one that measures every tensor, and saves
    2 ms a run; its fusions also change the last bits. The setting belongs to the whole process.
    """
    import tensorflow as tf

    options = tf.config.optimizer
    before = bool(options.get_experimental_options().get(_SWITCH, False))
    options.set_experimental_options({_SWITCH: True})
    try:
        yield
    finally:
        options.set_experimental_options({_SWITCH: before})


def opened(graph: Any) -> Any:
    """Return a session over a graph, which runs as it is written; what it holds is freed when it is closed.

    A function keeps its graph, its weights and what kernels make of them for as long as the process lives:
    600 MB for a network with 30 MB of weights.
    """
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.compat.v1.Session(graph=graph, config=config)


def run_graph(graph_def: Any, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Run a GraphDef ("input" to "output", a batch of 1) over N inputs and stack what comes out."""
    import numpy as np
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    with opened(graph) as session:
        rows = [session.run("output:0", {"input:0": np.asarray(row[None], np.float32)})[0] for row in inputs]
    give_back()
    return np.stack(rows)
