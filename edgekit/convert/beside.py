"""Read the files of calibration that lie beside a bundle's artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Kind = TypeVar("Kind")


def read_beside(path: Path, what: str, schema: int, made: Callable[[dict[str, Any]], Kind]) -> Kind:
    """Read a dataclass from a bundle's JSON file.

    Args:
        path: the file, in the bundle's folder.
        what: the file's content, for messages.
        schema: the version that is read.
        made: makes it of the file's table.

    Raises:
        UsageError: there is no such file, or one that can't be read.
    """
    if not path.is_file():
        raise UsageError(f"{path.parent} has no {what}", hint="convert an int8 recipe with --calibrate DATA")
    try:
        data = json.loads(path.read_bytes())
        if data.get("schema") == schema:
            return made(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} can't be read as a {what} ({error})", hint="convert again") from error
    raise UsageError(
        f"{path} has schema {data.get('schema')!r}, this EdgeKit reads {schema}", hint="convert again"
    )
