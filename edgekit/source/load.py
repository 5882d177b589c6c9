"""Read a source: a zoo name, a .keras, .h5, .onnx or .tflite file, or a SavedModel folder."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import TensorSpec
from edgekit.errors import MissingExtraError, UnknownNameError, UsageError
from edgekit.source.lean import imports
from edgekit.source.quiet import quiet
from edgekit.source.trace import trace
from edgekit.source.types import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.bundle import Preprocessing
    from edgekit.source.graph import Graph

IMAGE_RANK = 4
_SUFFIXES = {".keras": "keras", ".h5": "h5", ".hdf5": "h5", ".onnx": "onnx", ".tflite": "tflite"}
_PICKLED = (".pt2", ".pt", ".pth")
_UNREADABLE = (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, EOFError)


@dataclass(slots=True, kw_only=True)
class _Opened:
    """A network before it is traced: how to call it, what it takes, what is known about it."""

    call: Callable[[Any], Any]
    shape: tuple[int | None, ...]
    parameters: int
    preprocessing: Preprocessing | None = None
    options: dict[str, str] = field(default_factory=dict)


def load_source(
    spec: str,
    *,
    weights: str = "none",
    classes: int = 1000,
    resolution: int | None = None,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
) -> Source:
    """Read a network and trace it with a batch of 1.

    Args:
        spec: a zoo name ("mobilenet_v2_0.35", "shufflenet_v2_0.5x@128"), or the path of a .keras, .h5,
            .onnx or float32 .tflite file or of a SavedModel folder.
        weights: for a zoo name, "none" (seeded), "imagenet" or a file.
        classes: for a zoo name, how many outputs.
        resolution: height and width in pixels, for a zoo name or a network whose input size is open.
        seed: for a zoo name with weights "none".
        input_shape: for a .onnx file, the input's whole shape where more than batch and resolution is open.

    Returns:
        The source, its weights finite, one float32 input in its own layout and one float32 output.

    Raises:
        UnknownNameError: neither a file nor a zoo name; the nearest zoo name is offered.
        UsageError: a file that can't be read or trusted, or a network that does not fit.
        MissingExtraError: TensorFlow or Keras is not installed.
        ConversionError: the network can't be traced, or has an operation that can't be carried over.
    """
    kind = source_kind(spec)
    if input_shape is not None and kind != "onnx":
        raise UsageError(f"{spec} is no .onnx file", hint="leave out --input-shape")
    if kind != "zoo" and weights != "none":
        raise UsageError(f"{spec} brings its own weights", hint="leave out --weights, or name a zoo network")
    with quiet():
        _require()
        if kind == "onnx":
            from edgekit.source.onnx.source import load_onnx

            return load_onnx(Path(spec), resolution=resolution, input_shape=input_shape)
        if kind == "tflite":
            from edgekit.source.tflite.source import load_tflite

            return load_tflite(Path(spec), resolution=resolution)
        if kind == "zoo":
            opened = _open_zoo(spec, weights, classes, resolution, seed)
        else:
            path = Path(spec)
            opened = _open_savedmodel(path) if kind == "savedmodel" else _open_keras(path, kind)
            if resolution is not None:
                opened.options["resolution"] = str(resolution)
        shape = _closed(spec, opened.shape, resolution)
        graph = trace(opened.call, shape, spec)
        return Source(
            name=spec if kind == "zoo" else Path(spec).name,
            kind=kind,
            graph=graph,
            inputs=(_input(shape),),
            outputs=(_output(spec, graph),),
            sha256=graph.sha256(),
            parameters=opened.parameters,
            preprocessing=opened.preprocessing,
            options=opened.options,
        )


def source_kind(spec: str) -> str:
    """Tell what a source is without reading it: "zoo", "keras", "h5", "onnx", "tflite" or "savedmodel".

    Raises:
        UnknownNameError: neither a path that exists nor a zoo name.
        UsageError: a path of no kind that can be read.
    """
    from edgekit import zoo

    path = Path(spec)
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise UsageError(
                f"{spec} is a folder without saved_model.pb", hint="give the SavedModel's own folder"
            )
        return "savedmodel"
    if path.is_file():
        kind = _SUFFIXES.get(path.suffix.lower())
        if kind is None:
            raise _no_kind(spec, path.suffix.lower())
        return kind
    if zoo.is_zoo_name(spec):
        return "zoo"
    if path.suffix.lower() in _SUFFIXES or "/" in spec:
        raise UsageError(f"there is no file {spec}", hint="check the path")
    raise UnknownNameError("source (neither a file nor a zoo name)", spec, zoo.zoo_names())


def _no_kind(spec: str, suffix: str) -> UsageError:
    if suffix in _PICKLED:
        return UsageError(
            f"{spec} is PyTorch's, and to read such a file may run code that it carries",
            hint="load it where you trust it, then torch.onnx.export(...) or source_from_torch(...)",
        )
    return UsageError(
        f"{spec} is of no kind that EdgeKit reads",
        hint="give a .keras, .h5, .onnx or .tflite file, or a SavedModel folder",
    )


def _require() -> None:
    try:
        with imports():
            import keras  # noqa: F401 - only whether it is there
            import tensorflow as tf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError((error.name or "tensorflow").partition(".")[0], "convert") from error


def _open_zoo(spec: str, weights: str, classes: int, resolution: int | None, seed: int) -> _Opened:
    from edgekit import zoo

    keras_model = zoo.build(
        spec, weights=weights, classes=classes, channels=3, resolution=resolution, seed=seed
    )
    options = {"weights": weights, "classes": str(classes), "seed": str(seed)}
    opened = _from_keras(spec, keras_model)
    opened.preprocessing = zoo.describe(spec).preprocessing
    opened.options = {**options, "resolution": str(keras_model.inputs[0].shape[1])}
    return opened


def _open_keras(path: Path, kind: str) -> _Opened:
    import keras

    _check_container(path, kind)
    try:
        keras_model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return _from_keras(path.name, keras_model)


def _check_container(path: Path, kind: str) -> None:
    """Refuse a truncated or foreign file before a framework guesses what it may be."""
    damaged = f"{path.name} is damaged or no {'Keras' if kind == 'keras' else 'HDF5'} file"
    hint = "copy it again or save the network anew"
    if kind == "h5":
        import h5py

        try:
            with h5py.File(path, "r") as file:
                if "model_config" not in file.attrs:
                    raise UsageError(
                        f"{path.name} holds weights without a network",
                        hint="save the whole network: model.save(...)",
                    )
        except OSError as error:
            raise UsageError(damaged, hint=hint, evidence=str(error)) from error
        return
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, OSError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise UsageError(damaged, hint=hint, evidence=str(error)) from error
    if broken or "config.json" not in names:
        raise UsageError(damaged, hint=hint, evidence=str(broken or names))


def _unreadable(path: Path, error: BaseException) -> UsageError:
    text = str(error)
    if "Lambda" in text or "safe_mode" in text:
        return UsageError(
            f"{path.name} carries Python code in a Lambda layer, which is not run",
            hint="replace the Lambda by a layer of Keras and save again",
            evidence=text,
        )
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return UsageError(
        f"{path.name} can't be read by Keras ({first[:200]})",
        hint="save the network anew with Keras 3, or as a SavedModel folder: model.export(...)",
        evidence=text,
    )


def _from_keras(name: str, keras_model: Any) -> _Opened:
    inputs, outputs = getattr(keras_model, "inputs", None), getattr(keras_model, "outputs", None)
    if not inputs or not outputs:
        raise UsageError(f"{name} has no input shape", hint="call it once on data before it is saved")
    for what, tensors in (("inputs", inputs), ("outputs", outputs)):
        if len(tensors) != 1:
            raise several(name, what, len(tensors))
    if inputs[0].dtype != "float32":
        raise UsageError(f"{name} takes {inputs[0].dtype}, not float32", hint="save it with a float32 input")
    trainable = sum(int(_size(v.shape)) for v in keras_model.trainable_weights)

    def call(tensor: Any) -> Any:
        return keras_model(tensor, training=False)

    return _Opened(call=call, shape=tuple(inputs[0].shape), parameters=trainable)


def _open_savedmodel(path: Path) -> _Opened:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except (*_UNREADABLE, tf.errors.OpError) as error:
        raise UsageError(
            f"{path.name} can't be read as a SavedModel", hint="export the network again", evidence=str(error)
        ) from error
    signatures = loaded.signatures
    if not signatures:
        raise UsageError(f"{path.name} has no serving signature", hint="export it with model.export(...)")
    key = "serving_default" if "serving_default" in signatures else min(signatures)
    signature = signatures[key]
    given = signature.structured_input_signature[1]
    for what, tensors in (("inputs", given), ("outputs", signature.structured_outputs)):
        if len(tensors) != 1:
            raise several(path.name, what, len(tensors))
    name, spec = next(iter(given.items()))
    if spec.dtype != tf.float32:
        raise UsageError(
            f"{path.name} takes {spec.dtype.name}, not float32", hint="export it with a float32 input"
        )
    if spec.shape.rank is None:
        raise UsageError(
            f"{path.name} does not say how many dimensions its input has", hint="export it with a shape"
        )
    output = next(iter(signature.structured_outputs))
    variables = signature.trainable_variables or signature.variables

    def call(tensor: Any) -> Any:
        held = loaded  # a signature lives only as long as what it was loaded with
        return held.signatures[key](**{name: tensor})[output]

    return _Opened(
        call=call,
        shape=tuple(spec.shape.as_list()),
        parameters=sum(int(_size(v.shape)) for v in variables),
        options={"signature": key},
    )


def several(name: str, what: str, count: int) -> UsageError:
    """Return the refusal of a network with several inputs or outputs."""
    ways = {
        "inputs": "make all but one of them constants, and export it again",
        "outputs": "export it with the one output that you need",
    }
    return UsageError(
        f"{name} has {count} {what}, and EdgeKit can calibrate and prove only one input and one output",
        hint=ways[what],
    )


def _closed(name: str, shape: tuple[int | None, ...], resolution: int | None) -> tuple[int, ...]:
    if shape[0] not in (None, 1):
        raise UsageError(
            f"{name} has a fixed batch of {shape[0]}", hint="save it with an open batch, or a batch of 1"
        )
    inner = list(shape[1:])
    if len(shape) == IMAGE_RANK:
        for axis in (0, 1):
            if resolution is not None and inner[axis] not in (None, resolution):
                raise UsageError(
                    f"{name} has a fixed input of {inner[0]} x {inner[1]} pixels",
                    hint="leave out --resolution",
                )
            inner[axis] = resolution if inner[axis] is None else inner[axis]
    if any(n is None for n in inner):
        raise UsageError(f"{name} leaves its input's size open", hint="say which: --resolution PIXELS")
    return (1, *(int(n) for n in inner if n is not None))


def _input(shape: tuple[int, ...]) -> TensorSpec:
    layout = "NHWC" if len(shape) == IMAGE_RANK else "any"
    return TensorSpec(name="input", shape=shape, dtype="float32", layout=layout)


def _output(name: str, graph: Graph) -> TensorSpec:
    import tensorflow as tf

    with tf.Graph().as_default() as traced:
        tf.import_graph_def(graph.to_outline(), name="")
        tensor = traced.get_tensor_by_name("output:0")
    if tensor.dtype != tf.float32:
        raise UsageError(
            f"{name} gives {tensor.dtype.name}, not float32", hint="save it with a float32 output"
        )
    if not tensor.shape.is_fully_defined():
        raise UsageError(
            f"the output of {name} has no fixed shape ({tensor.shape})", hint="give it a fixed shape"
        )
    shape = tuple(tensor.shape.as_list())
    return TensorSpec(name="output", shape=shape, dtype="float32", layout="NC" if len(shape) == 2 else "any")  # noqa: PLR2004


def _size(shape: Any) -> int:
    total = 1
    for n in shape:
        total *= int(n)
    return total
