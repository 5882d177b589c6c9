"""Pooling in ML programs, in one to three spatial dimensions, channels first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.conv import margins, padded, taps
from edgekit.convert.mil.operations import Given, evaluates
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.convert.mil.values import Array


class _Window:
    """Where a pooling's windows lie.

    Attributes:
        kernel, steps: of the window.
        around: the padding that the program asks for, before and after each dimension.
        sizes: of the output.
        over: how far the last window reaches beyond that, which ceil_mode allows.
    """

    def __init__(self, given: Given, shape: tuple[int, ...]) -> None:
        self.kernel = given.ints("kernel_sizes")
        self.steps = given.ints("strides", [1] * len(self.kernel))
        kind, sizes = given.text("pad_type", "valid"), shape[2:]
        custom = kind == "custom"
        self.around = (
            given.ints("pad", [0] * (2 * len(sizes)))
            if custom
            else margins(kind, sizes, self.kernel, self.steps)
        )
        ceil = given.flag("ceil_mode")
        self.sizes: list[int] = []
        self.over: list[int] = []
        for axis, size in enumerate(sizes):
            self._place(axis, size, ceil=ceil)

    def _place(self, axis: int, size: int, *, ceil: bool) -> None:
        before, after = self.around[2 * axis : 2 * axis + 2]
        kernel, step = self.kernel[axis], self.steps[axis]
        room = size + before + after - kernel
        count = (-(-room // step) if ceil else room // step) + 1
        if ceil and before + after > 0 and (count - 1) * step >= size + before:
            count -= 1
        if (count - 1) * step >= size + before + after:
            raise ConversionError("its last window lies outside its input, where no result is documented")
        self.sizes.append(count)
        self.over += [0, max(0, (count - 1) * step + kernel - (size + before + after))]

    def views(self, x: Array, outside: float) -> Iterator[Array]:
        """Yield the input's view at each place of the window, `outside` where it reaches beyond."""
        both = [a + b for a, b in zip(self.around, self.over, strict=True)]
        whole = padded(x, both, outside)
        return taps(whole, self.kernel, self.steps, [1] * len(self.kernel), self.sizes)


@evaluates("max_pool", exact=True)
def _max_pool(given: Given) -> Array:
    x = given["x"]
    views = _Window(given, x.shape).views(x, -np.inf)
    found = np.array(next(views))
    for view in views:
        np.maximum(found, view, out=found)
    return found


@evaluates("avg_pool")
def _avg_pool(given: Given) -> Array:
    x = given["x"]
    window = _Window(given, x.shape)
    inside = np.ones((1, 1, *x.shape[2:]), np.float32)
    if not given.flag("exclude_padding_from_average"):
        inside = padded(inside, window.around, 1.0)
        window_count = sum(taps_of(window, inside, around=False))
    else:
        window_count = sum(taps_of(window, inside, around=True))
    return np.asarray(sum(window.views(x, 0.0)) / window_count)


def taps_of(window: _Window, inside: Array, *, around: bool) -> Iterator[Array]:
    """Yield the views of what counts, 1 inside and 0 outside; `around`: the padding is outside too."""
    both = [(a if around else 0) + b for a, b in zip(window.around, window.over, strict=True)]
    whole = padded(inside, both, 0.0)
    return taps(whole, window.kernel, window.steps, [1] * len(window.kernel), window.sizes)


@evaluates("l2_pool")
def _l2_pool(given: Given) -> Array:
    x = given["x"]
    return np.asarray(np.sqrt(sum(view * view for view in _Window(given, x.shape).views(x, 0.0))))
