"""PyTorch state dicts into the zoo's networks: torchvision's, and the ShuffleNet v1 authors'.

A layer's name is its key with "." written as "_"; the arrays only change their order of axes:

    convolution    out x in x h x w  ->  h x w x in x out
    depthwise      c x 1 x h x w     ->  h x w x c x 1
    dense          out x in          ->  in x out
    batch norm     weight, bias, running_mean, running_var, as they are

The mapping takes plain NumPy arrays; only reading a .pth file needs PyTorch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingExtraError, UsageError
from edgekit.zoo.assign import assign, weighted_layers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    Array = np.ndarray[Any, Any]

FAMILIES = ("shufflenet_v1", "shufflenet_v2", "squeezenet")
"""The families whose layers are named after the keys of a state dict."""

_NORM_KEYS = ("weight", "bias", "running_mean", "running_var")
_V1_BRANCH = re.compile(r"features_(\d+)_branch_main_(\d)_(\d)")
_GROUP = re.compile(r"(.+)_g(\d+)")


def load_state_dict(model: Any, state: Mapping[str, Array], origin: str = "the state dict") -> None:
    """Set a network's weights from a state dict.

    Args:
        model: a network of the zoo, of one of FAMILIES.
        state: key to array, in PyTorch's layouts; "num_batches_tracked" is of no use and left aside.
        origin: where the state is from, for messages.

    Raises:
        UsageError: another family, a key is missing or left over, or a shape differs.
    """
    if model.name not in FAMILIES:
        raise UsageError(
            f"{model.name} doesn't take PyTorch weights: its border and its batch norm differ from PyTorch's",
            hint=f"PyTorch weights are taken by {', '.join(FAMILIES)}",
        )
    left = {key: array for key, array in state.items() if not key.endswith("num_batches_tracked")}
    used: set[str] = set()
    arrays = {name: _arrays(layer, left, used, origin) for name, layer in weighted_layers(model).items()}
    unused = sorted(set(left) - used)
    if unused:
        raise UsageError(
            f"{origin} has {len(unused)} keys that {model.name} has no layer for: {', '.join(unused[:3])}",
            hint="name the network that the weights were made for",
        )
    assign(model, arrays, origin)


def read_pth(path: Path) -> dict[str, Array]:
    """Read a PyTorch file of weights; nothing in it is executed (weights_only).

    A checkpoint's "state_dict" is unwrapped, and so is the "module." that DataParallel puts ahead.

    Raises:
        MissingExtraError: PyTorch is not installed.
        UsageError: the file can't be read, or holds something else than arrays by name.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            # It warns of pickles that it is going to refuse.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"{path} can't be read as PyTorch weights ({first[:200]})",
            hint="save a plain state dict: torch.save(network.state_dict(), path)",
            evidence=str(error),
        ) from None
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UsageError(
            f"{path} holds no state dict", hint="save a plain one: torch.save(network.state_dict(), path)"
        )
    return {key.removeprefix("module."): value.numpy() for key, value in state.items()}


def key_of(layer_name: str) -> str:
    """Return the state dict's key (without ".weight") for a layer's name."""
    branch = _V1_BRANCH.fullmatch(layer_name)
    if branch:
        return "features.{}.branch_main_{}.{}".format(*branch.groups())
    if layer_name.startswith("first_conv_"):
        return layer_name.replace("first_conv_", "first_conv.")
    # The authors' classifier of ShuffleNet v1 is a sequence of one.
    return "classifier.0" if layer_name == "classifier" else layer_name.replace("_", ".")


def _arrays(layer: Any, state: Mapping[str, Array], used: set[str], origin: str) -> list[Array]:
    import keras

    group = _GROUP.fullmatch(layer.name)
    key = key_of(group[1] if group else layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return [_take(state, used, f"{key}.{part}", origin) for part in _NORM_KEYS]
    kernel = _take(state, used, f"{key}.weight", origin)
    if group:
        start = int(group[2]) * layer.filters
        kernel = kernel[start : start + layer.filters]
    arrays = [_turned(layer, kernel, origin)]
    return [*arrays, _take(state, used, f"{key}.bias", origin)] if layer.use_bias else arrays


def _turned(layer: Any, kernel: Array, origin: str) -> Array:
    import keras

    axes: tuple[int, ...] = (2, 3, 1, 0)
    if isinstance(layer, keras.layers.Dense):
        axes = (1, 0)
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        axes = (2, 3, 0, 1)
    if kernel.ndim != len(axes):
        raise UsageError(
            f"{origin} has a weight of shape {kernel.shape} for layer {layer.name!r}",
            hint="name the network that the weights were made for",
        )
    return kernel.transpose(axes)


def _take(state: Mapping[str, Array], used: set[str], key: str, origin: str) -> Array:
    if key not in state:
        raise UsageError(
            f"{origin} has no key {key!r}", hint="name the network that the weights were made for"
        )
    used.add(key)
    return state[key]
