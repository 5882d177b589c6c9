"""tf2onnx in the same order in every process.

It walks over sets of names, whose order Python draws anew for each process, and sorts names that end in a
number which goes on from conversion to conversion: what its optimizers find, and with that how many nodes
stay, changed with both (461 or 463 for ShuffleNet v1 0.5x g3).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, MutableSet
from typing import Any


class InOrder(MutableSet[Any]):
    """A set that is walked over in the order in which its members came, with what tf2onnx calls of a set."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = dict.fromkeys(members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        """Add a member, behind the others."""
        self._members[value] = None

    def discard(self, value: Any) -> None:
        """Remove a member if it is one."""
        self._members.pop(value, None)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the members of others."""
        for other in others:
            self._members.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> InOrder:
        """Return what is in this or in others."""
        found = InOrder(self)
        found.update(*others)
        return found

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether every member is one of the other's."""
        return self <= InOrder(other)

    def intersection(self, other: Iterable[Any]) -> InOrder:
        """Return what is in both."""
        return InOrder(self & InOrder(other))


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Let tf2onnx make the same of the same graph, whatever was converted before and in whatever process."""
    from tf2onnx import optimizer, tfonnx, utils  # noqa: F401 - with all that they import

    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "tf2onnx"]
    for module in modules:
        module.set = InOrder  # type: ignore[attr-defined]
    reached, utils.INTERNAL_NAME = utils.INTERNAL_NAME, 1
    try:
        yield
    finally:
        utils.INTERNAL_NAME = max(reached, utils.INTERNAL_NAME)
        for module in modules:
            del module.set
