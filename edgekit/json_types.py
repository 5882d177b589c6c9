"""Whether what a JSON file gave is of the type that a dataclass says: nothing foreign gets further."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1 << 64
_LARGEST = 1.7976931348623157e308


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says; NaN, infinity and what is nested too deep are ValueErrors too."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def fits(kind: str, value: Any) -> bool:
    """Return whether a value is of a type, and every number in it finite and of 64 bits at most.

    Args:
        kind: the annotation, "tuple[int, ...]". Of a name that JSON has no type for nothing is known, and
            any value fits it.
        value: as `json` reads it; tuples count as lists.
    """
    options = _parts(kind, "|")
    if len(options) > 1:
        return any(fits(option, value) for option in options)
    name, _, inner = kind.partition("[")
    parts = _parts(inner[:-1], ",")
    if name == "tuple":
        return isinstance(value, list | tuple) and _all_fit(parts, value)
    if name == "Mapping":
        return (
            isinstance(value, dict)
            and all(map(_is_text, value))
            and _all_fit((parts[1], "..."), value.values())
        )
    return _CHECKS.get(name, _any)(value)


def _all_fit(parts: tuple[str, ...], values: Any) -> bool:
    """Return whether values are of these types: one each, or all of the first one."""
    if parts[-1] == "...":
        check = _CHECKS.get(parts[0]) or functools.partial(fits, parts[0])
        return all(map(check, values))
    return len(parts) == len(values) and all(map(fits, parts, values))


@functools.cache
def _parts(text: str, mark: str) -> tuple[str, ...]:
    """Return what stands between marks, those inside of brackets left out."""
    depth, found, start = 0, [], 0
    for match in re.finditer(r"[][,|]", text):
        depth += {"[": 1, "]": -1}.get(match[0], 0)
        if match[0] == mark and depth == 0:
            found.append(text[start : match.start()].strip())
            start = match.end()
    return (*found, text[start:].strip())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return type(value) is int and abs(value) < _MOST


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) <= _LARGEST


def _any(value: Any) -> bool:
    """Return whether all numbers in a value, at any depth, are finite and of 64 bits at most."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif type(one) in {int, float} and not _NUMBERS[type(one)](one):
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


_NUMBERS: dict[type, Callable[[Any], bool]] = {int: _is_int, float: _is_number}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "int": _is_int,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "None": lambda value: value is None,
}
