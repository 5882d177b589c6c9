"""Import frameworks without what they import only to offer it to others.

Keras brings scikit-learn and SciPy's statistics for its wrappers, coremltools brings PyTorch for a front end
and for helpers of training: half of the time of importing and 250 MB. No conversion of ours needs either.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDLESS = ("sklearn", "torch", "xgboost", "libsvm")

_ours = False


def own_process() -> None:
    """Say that this process is EdgeKit's own: nobody else in it wants what is left out.

    The command line says so. In a user's program everything is imported as always, for Keras and coremltools
    remember for good what they did not find.
    """
    global _ours  # noqa: PLW0603 - modules are the process's, and so is this
    _ours = True


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import frameworks inside this block: no garbage is collected, and in our own process nothing needless.

    What is imported already stays; what is left out can be imported after the block.
    """
    collecting = gc.isenabled()
    held = [name for name in NEEDLESS if _ours and name not in sys.modules]
    gc.disable()  # imports make no garbage, and a collection walks over all that they made
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(held))  # None is how Python blocks an import
    try:
        yield
    finally:
        for name in held:
            if modules.get(name, True) is None:
                del modules[name]
        if collecting:
            gc.enable()
