"""A TOML table that is read with its types checked: every complaint is one line that names the file."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from edgekit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_KINDS = {
    bool: "true or false",
    dict: "a table",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        UsageError: it can't be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror})", hint="give a file that exists") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None


class Table:
    """One table of a file.

    Args:
        data: the table, as TOML or JSON gives it.
        where: the file, and the table in it, for messages.
        known: the keys that it may have.

    Raises:
        UnknownNameError: it has another key; the nearest known one is offered.
        UsageError: it is no table.
    """

    def __init__(self, data: object, where: str, known: Collection[str]) -> None:
        if not isinstance(data, dict):
            raise UsageError(f"{where} should be a table, not {_kind(data)}")
        for key in data:
            if key not in known:
                raise UnknownNameError(f"key in {where}", str(key), known)
        self._data: Mapping[str, Any] = data
        self.where = where

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default it has to be there and not empty."""
        value = self._typed(key, str, default)
        if default is None and not value.strip():
            raise UsageError(f"{self.where}: {key!r} is empty")
        return str(value)

    def count(self, key: str) -> int:
        """Return a whole number of 1 or more, which has to be there."""
        return self._positive(key, self._typed(key, int, None))

    def count_or_none(self, key: str) -> int | None:
        """Return a whole number of 1 or more, or None where the key is not (or is JSON's null)."""
        return None if self._data.get(key) is None else self.count(key)

    def texts(self, key: str, known: Collection[str] = (), *, needed: bool = False) -> tuple[str, ...]:
        """Return a list of texts, none twice; empty where the key is not.

        Args:
            key: the list's name.
            known: the only texts that it may hold, or empty when any will do.
            needed: whether there has to be one at least.
        """
        values = self._list(key, str)
        if needed and not values:
            raise UsageError(f"{self.where} names no {key}", hint=f"known: {', '.join(sorted(known))}")
        for value in values:
            if known and value not in known:
                raise UnknownNameError(f"{key.removesuffix('s')} in {self.where}", value, known)
            if values.count(value) > 1:
                raise UsageError(f"{self.where}: {key!r} holds {value!r} twice")
        return values

    def counts(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers of 1 or more; empty where the key is not."""
        return tuple(self._positive(key, value) for value in self._list(key, int))

    def tables(self, key: str, known: Collection[str]) -> tuple[Table, ...]:
        """Return a list of tables; empty where the key is not."""
        return tuple(
            Table(item, f"{self.where}, {key}[{number}]", known)
            for number, item in enumerate(self._list(key, dict), start=1)
        )

    def patterns(self, key: str, known: Collection[str]) -> dict[str, str]:
        """Return a table of regular expressions that compile; empty where the key is not."""
        inner = Table(self._typed(key, dict, {}), f"{self.where}, [{key}]", known)
        found = {name: inner.text(name) for name in inner._data}
        for name, pattern in found.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(
                    f"{inner.where}: {name} = {pattern!r} is no regular expression: {error}"
                ) from None
        return found

    def choice(self, key: str, known: Collection[str]) -> str:
        """Return a text that has to be there and be one of `known`."""
        value = self.text(key)
        if value not in known:
            raise UnknownNameError(f"{key} in {self.where}", value, known)
        return value

    def _typed(self, key: str, kind: type, default: object) -> Any:
        if key not in self._data and default is None:
            raise UsageError(f"{self.where} lacks the key {key!r}")
        return self._checked(key, self._data.get(key, default), kind)

    def _list(self, key: str, kind: type) -> tuple[Any, ...]:
        values = self._checked(key, self._data.get(key, []), list)
        return tuple(self._checked(key, value, kind) for value in values)

    def _checked(self, key: str, value: object, kind: type) -> Any:
        if type(value) is not kind:
            raise UsageError(f"{self.where}: {key!r} should be {_KINDS[kind]}, not {_kind(value)}")
        return value

    def _positive(self, key: str, value: int) -> int:
        if value < 1:
            raise UsageError(f"{self.where}: {key!r} should be 1 or more, not {value}")
        return value


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)
