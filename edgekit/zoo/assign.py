"""Arrays into layers: every layer gets its own, nothing is left over, nothing fits by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    Arrays = Sequence[np.ndarray[Any, Any]]

_SHOWN = 3


def weighted_layers(model: Any) -> dict[str, Any]:
    """Return the layers that have weights, by name, in the network's order."""
    return {layer.name: layer for layer in model.layers if layer.weights}


def assign(model: Any, arrays: Mapping[str, Arrays], origin: str) -> None:
    """Set the weights of every layer.

    Args:
        model: a Keras network.
        arrays: a layer's name to its arrays, in the order of `layer.weights`.
        origin: where the arrays are from, for messages.

    Raises:
        UsageError: a layer gets nothing, an array has no layer, or a shape differs; nothing is set then.
    """
    layers = weighted_layers(model)
    _refuse_odd(sorted(set(layers) - set(arrays)), f"{origin} has no weights for", model)
    _refuse_odd(sorted(set(arrays) - set(layers)), f"{origin} has weights for unknown", model)
    for name, layer in layers.items():
        given = [tuple(array.shape) for array in arrays[name]]
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if given != wanted:
            raise UsageError(
                f"{origin} has shapes {given} for layer {name!r}, {model.name} needs {wanted}",
                hint="name the network, the classes and the channels that the weights were made for",
            )
    for name, layer in layers.items():
        layer.set_weights(list(arrays[name]))


def _refuse_odd(names: list[str], what: str, model: Any) -> None:
    if not names:
        return
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise UsageError(
        f"{what} layers of {model.name}: {', '.join(names[:_SHOWN])}{more}",
        hint="name the network that the weights were made for, or convert that file itself as the source",
    )
