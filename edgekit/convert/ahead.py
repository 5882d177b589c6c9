"""Make formats' float forms in the background while the float graph is calibrated and tuned.

They do not depend on what is measured. TensorFlow computes without holding other threads up, and what makes
them is Python for the most part.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from edgekit.convert.base import CONVERTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from edgekit.recipe import Recipe
    from edgekit.source import FrozenGraph


class Ahead:
    """One thread beside the caller's; what is not begun when the block ends is left.

    Attributes:
        forms: what is made or will be, by the name that `Work.float_once` asks for.
    """

    def __init__(self) -> None:
        self.forms: dict[str, Future[Any]] = {}
        self._thread = ThreadPoolExecutor(1, "edgekit-ahead")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def start(self, frozen: FrozenGraph, recipes: Sequence[Recipe]) -> None:
        """Begin with the float forms of these recipes' formats, where their converters have an `early`."""
        for name in dict.fromkeys(recipe.format for recipe in recipes):
            early = getattr(CONVERTERS.get(name), "early", None)
            found = None if early is None else early(frozen)
            if found is not None:
                form, make = found
                self.forms[form] = self._thread.submit(make, frozen)
