"""Small honest registries: a duplicate name is an error, the view outside is read-only.

An entry is a value or the string "module:attribute" of one, imported when it is first asked for,
so that a list can be printed without a framework being loaded.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to values of one kind, filled here or by other packages' entry points.

    Args:
        kind: what an entry is ("runtime"), for messages.
        refuse: makes the exception for a name that is not known, from (kind, name, known names).
        group: the entry-point group that other packages use, or "" for none.
    """

    def __init__(
        self, kind: str, *, refuse: Callable[[str, str, Iterable[str]], Exception], group: str = ""
    ) -> None:
        self.kind = kind
        self._refuse = refuse
        self._group = group
        self._entries: dict[str, T | str] = {}
        self._scanned = not group

    def add(self, name: str, entry: T | str) -> None:
        """Add an entry.

        Args:
            name: the user's word for it.
            entry: the value, or "module:attribute" to be imported when first asked for.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under `name`."""

        def keep(entry: T) -> T:
            self.add(name, entry)
            return entry

        return keep

    def get(self, name: str) -> T:
        """Return the entry of this name, imported if need be.

        Raises:
            Exception: what `refuse` makes, when the name is not known.
        """
        self._scan()
        if name not in self._entries:
            raise self._refuse(self.kind, name, self._entries)
        entry = self._entries[name]
        if isinstance(entry, str):
            entry = self._entries[name] = _resolve(entry)
        return entry

    @property
    def entries(self) -> Mapping[str, T | str]:
        """A read-only view of names and entries; lazy ones are still strings."""
        self._scan()
        return MappingProxyType(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in metadata.entry_points(group=self._group):
            self.add(point.name, point.value)


def _resolve(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
