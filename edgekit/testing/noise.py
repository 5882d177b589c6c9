"""Bytes for tests: any value, nothing that compresses, the same each time."""

from __future__ import annotations

import random


def noise(size: int, seed: int = 1) -> bytes:
    """Return `size` bytes with every value in them, the same ones for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311  no secret: a test's data
