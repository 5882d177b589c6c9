"""Tensors that know which of their stored axes is which.

ONNX puts channels first, the formats of phones and boards put them last. A value here is stored in any order
of its axes and says in which; an operation asks for the order it wants. A transposition is then only another
order, and axes move in memory only where an operation can't do without: a channel shuffle costs what it
costs a network that was written channels last.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Order = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor and the order of its axes.

    Attributes:
        tensor: as TensorFlow holds it, of a shape that is wholly known.
        order: the logical axis that each stored axis holds.
        nonnegative: nothing in it is below zero.
    """

    tensor: Any
    order: Order
    nonnegative: bool = False

    @property
    def rank(self) -> int:
        """How many axes."""
        return len(self.order)

    @property
    def shape(self) -> tuple[int, ...]:
        """The logical shape."""
        sizes = self.tensor.shape.as_list()
        return tuple(int(sizes[self.order.index(axis)]) for axis in range(self.rank))

    def stored(self, axis: int) -> int:
        """Return where a logical axis, negative ones counted from the end, is stored."""
        return self.order.index(axis % self.rank)

    def holding(self, tensor: Any, *, nonnegative: bool = False) -> Value:
        """Return another tensor of the same order."""
        return dataclasses.replace(self, tensor=tensor, nonnegative=nonnegative)


def plain(rank: int) -> Order:
    """Return the order in which nothing is moved."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the order that stores axis 1 last."""
    return (0, *range(2, rank), 1) if rank > 1 else plain(rank)


def arranged(value: Value, order: Order) -> Any:
    """Return the tensor with its axes in this order; axes of size 1 move for free."""
    import tensorflow as tf

    if value.order == order:
        return value.tensor
    shape = value.shape
    if _long(value.order, shape) == _long(order, shape):
        return tf.reshape(value.tensor, [shape[axis] for axis in order])
    return tf.transpose(value.tensor, [value.order.index(axis) for axis in order])


def logical(value: Value) -> Any:
    """Return the tensor with its axes as ONNX numbers them."""
    return arranged(value, plain(value.rank))


def transpose(value: Value, axes: Sequence[int]) -> Value:
    """Give logical axes another number: new axis k is old axis `axes[k]`. Nothing moves."""
    return dataclasses.replace(value, order=tuple(tuple(axes).index(axis) for axis in value.order))


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """Split and join logical axes, moving in memory only what is joined and does not lie together.

    Args:
        value: of as many elements as `shape` has.
        shape: the new logical shape, every dimension known and none 0.
    """
    import tensorflow as tf

    before = value.shape
    groups = _groups(before, shape)
    met = [next(g for g in groups if axis in g[0]) for axis in _long(value.order, before)]
    joined = [group for index, group in enumerate(met) if group not in met[:index]]
    lying = tuple(axis for old, _ in joined for axis in old)
    tensor = value.tensor
    if lying != _long(value.order, before):
        short = tuple(axis for axis in plain(value.rank) if axis not in lying)
        tensor = arranged(value, (*short, *lying))
    single = [axis for axis, size in enumerate(shape) if size == 1]
    order = (*single, *(axis for _, new in joined for axis in new))
    tensor = tf.reshape(tensor, [shape[axis] for axis in order])
    return Value(tensor=tensor, order=order, nonnegative=value.nonnegative)


def without(value: Value, tensor: Any, axes: Sequence[int]) -> Value:
    """Return what is left of a value's order when logical axes (none negative) are gone from the tensor."""
    left = [axis for axis in value.order if axis not in axes]
    return Value(tensor=tensor, order=tuple(sorted(left).index(axis) for axis in left))


def _long(order: Order, shape: Sequence[int]) -> Order:
    return tuple(axis for axis in order if shape[axis] != 1)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[Order, Order]]:
    """Return the smallest runs of axes longer than 1 that hold the same elements before and after."""
    old, new = ([axis for axis, size in enumerate(shape) if size != 1] for shape in (before, after))
    groups: list[tuple[Order, Order]] = []
    while old or new:
        left, right = [old.pop(0)], [new.pop(0)]
        here, there = before[left[0]], after[right[0]]
        while here != there:
            if here < there:
                left.append(old.pop(0))
                here *= before[left[-1]]
            else:
                right.append(new.pop(0))
                there *= after[right[-1]]
        groups.append((tuple(left), tuple(right)))
    return groups
