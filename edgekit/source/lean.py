"""Import frameworks without what they import only to offer it to others.

Keras brings scikit-learn and SciPy's statistics for its wrappers, coremltools brings PyTorch for a front end
and for helpers of training: half of the time of importing and 250 MB. No conversion of ours needs either.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from edgekit.source.memory import hold_on

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDLESS = ("sklearn", "torch", "xgboost", "libsvm")

_MANY = 500
"""So many modules are worth a collection: TensorFlow and Keras are 2,600, coremltools with its own 900."""

_ours = False


def own_process() -> None:
    """Say that this process is EdgeKit's own: nobody else in it wants what is left out.

    The command line says so. In a user's program everything is imported as always, for Keras and coremltools
    remember for good what they did not find.

    Here TensorFlow, which reads this once, takes memory of the C library: its own allocator keeps all that it
    ever had, which for a network with 14 MB of weights are 600 MB. A program that trains may want that.
    """
    global _ours  # noqa: PLW0603 - modules are the process's, and so is this
    if not _ours:
        atexit.register(gc.freeze)  # Python would walk over all of TensorFlow, several times, before it ends
    _ours = True
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import frameworks inside this block: no garbage is collected, and in our own process nothing needless.

    What is imported already stays; what is left out can be imported after the block. In our own process no
    later collection walks over what was imported: a million objects that live as long as the process.
    """
    collecting = gc.isenabled()
    if _ours:
        hold_on()
    held = [name for name in NEEDLESS if _ours and name not in sys.modules]
    gc.disable()  # imports make no garbage, and a collection walks over all that they made
    modules: dict[str, Any] = sys.modules
    known = len(modules)
    modules.update(dict.fromkeys(held))  # None is how Python blocks an import
    try:
        yield
    finally:
        for name in held:
            if modules.get(name, True) is None:
                del modules[name]
        if _ours and len(modules) > known + _MANY:
            _settle()
        if collecting:
            gc.enable()


def _settle() -> None:
    """Take what is alive out of the garbage collector's sight, garbage first where there can be any."""
    if gc.get_freeze_count():
        gc.collect()
    gc.freeze()
