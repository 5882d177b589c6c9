"""Golden inputs on their way to a device: a bundle keeps them as its source takes them, channels last.

An artifact may want channels first. That is a matter of axes, settled on the host, so that the program on
the device needs to know nothing of layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.bundle import Bundle

_CHANNELS_FIRST = (0, 3, 1, 2)


def wants_channels_first(bundle: Bundle, artifact: Artifact) -> bool:
    """Return whether the golden inputs have to be turned for this artifact; only their header is read.

    Raises:
        UsageError: their shape is not the artifact's input shape, turned or not, or can't be read.
    """
    import numpy as np

    path = bundle.root / bundle.golden.inputs
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(
            f"{path} can't be read ({error})", hint="convert again: the bundle is damaged"
        ) from None
    if len(artifact.inputs) != 1:
        raise UsageError(
            f"{artifact.recipe} takes {len(artifact.inputs)} inputs, and golden inputs are for one",
            hint="bench the bare file; its outputs stay unproven",
        )
    spec = artifact.inputs[0]
    if tuple(shape[1:]) == spec.shape[1:]:
        return False
    if len(shape) == len(_CHANNELS_FIRST) and tuple(shape[i] for i in _CHANNELS_FIRST[1:]) == spec.shape[1:]:
        return True
    raise UsageError(
        f"the golden inputs {shape[1:]} do not fit {artifact.recipe}, which takes {spec.shape[1:]}",
        hint="convert again: the bundle is damaged",
    )


def stage(bundle: Bundle, artifact: Artifact, folder: Path) -> Path:
    """Return the .npy that this artifact takes: the bundle's own, or one turned and written to `folder`."""
    import numpy as np

    path = bundle.root / bundle.golden.inputs
    if not wants_channels_first(bundle, artifact):
        return path
    turned = folder / "inputs-channels-first.npy"
    if not turned.exists():
        inputs = np.load(path, allow_pickle=False)
        np.save(turned, np.ascontiguousarray(np.transpose(inputs, _CHANNELS_FIRST)))
    return turned
