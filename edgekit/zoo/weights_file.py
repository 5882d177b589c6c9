"""A file of weights into a network: .keras, .weights.h5, Keras 2's .h5, PyTorch's .pth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import UsageError
from edgekit.zoo.assign import assign, weighted_layers
from edgekit.zoo.torchvision import load_state_dict, read_pth

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    Arrays = list[np.ndarray[Any, Any]]

SUFFIXES = (".keras", ".weights.h5", ".h5", ".pth", ".pt")


def load_file(model: Any, path: Path) -> None:
    """Set a network's weights from a file; no code that the file may hold is run.

    Args:
        model: a network of the zoo.
        path: its ending says what it is.

    Raises:
        UsageError: no such file, an ending that nobody knows, content that can't be read or belongs to
            another network.
        MissingExtraError: a .pth file, and PyTorch is not installed.
    """
    if not path.is_file():
        raise UsageError(f"there is no weights file {path}", hint='give "none", "imagenet" or a path')
    name = path.name
    if name.endswith((".pth", ".pt")):
        load_state_dict(model, read_pth(path), name)
    elif name.endswith(".keras"):
        assign(model, _read_keras(path), name)
    elif name.endswith(".weights.h5"):
        _load_weights_h5(model, path)
    elif name.endswith(".h5"):
        _load_legacy_h5(model, path)
    else:
        raise UsageError(f"{name} has none of the endings of a weights file", hint=", ".join(SUFFIXES))


def _read_keras(path: Path) -> dict[str, Arrays]:
    import keras

    try:
        source = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _unreadable(path, error) from None
    return {name: layer.get_weights() for name, layer in weighted_layers(source).items()}


def _load_weights_h5(model: Any, path: Path) -> None:
    import warnings

    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that the file has nothing for, and leaves them as they were.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise _unreadable(path, error) from None


def _load_legacy_h5(model: Any, path: Path) -> None:
    """Load Keras 2's format: by the layers' names, or by their order where the names are older.

    keras.applications' files carry the layer names of their time and are read by order there too. Only
    the MobileNets are: their weighted layers form one chain, which has one order.
    """
    arrays = _read_legacy_h5(path)
    layers = list(weighted_layers(model))
    if set(arrays) != set(layers) and model.name.startswith("mobilenet") and len(arrays) == len(layers):
        arrays = dict(zip(layers, arrays.values(), strict=True))
    assign(model, arrays, path.name)


def _read_legacy_h5(path: Path) -> dict[str, Arrays]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            groups = {_text(name): root[_text(name)] for name in root.attrs["layer_names"]}
            arrays = {
                name: [group[_text(weight)][()] for weight in group.attrs["weight_names"]]
                for name, group in groups.items()
            }
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from None
    return {name: values for name, values in arrays.items() if values}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _unreadable(path: Path, error: Exception) -> UsageError:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return UsageError(
        f"the weights in {path} can't be loaded ({first[:200]})",
        hint="name the network that the weights were made for, or convert that file itself as the source",
        evidence=str(error),
    )
