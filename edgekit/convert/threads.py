"""How many threads NumPy's matrix products take."""

from __future__ import annotations

import contextlib
from typing import Any


def one_thread() -> contextlib.AbstractContextManager[Any]:
    """Hold matrix products to one thread where threadpoolctl is installed.

    They are small here: several threads wait for each other longer than they compute, many times longer on a
    busy machine.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    limits: contextlib.AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits
