"""Small files of the kernel's, read without fear."""

from __future__ import annotations

import contextlib
from typing import Any


def text_of(path: str) -> str | None:
    """Return a small file's text, or None where it can't be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(65536).decode("utf-8", "replace").strip("\0\n ")
    return None


def number_of(path: str) -> int | None:
    """Return the number that a small file holds, or None."""
    with contextlib.suppress(ValueError):
        return int(text_of(path) or "", 0)
    return None


def field_of(path: str, name: str) -> str:
    """Return what stands after `NAME:` in a file of such lines, or nothing."""
    lines = [line.partition(":") for line in (text_of(path) or "").splitlines()]
    return next((value.strip() for key, _, value in lines if key == name), "")


def known(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is there: None, and nothing at all, is left out."""
    return {key: value for key, value in told.items() if value not in (None, "", [], {})}
