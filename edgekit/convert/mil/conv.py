"""Convolutions and matrix products of ML programs, in one to three spatial dimensions, channels first."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgekit.convert.mil.values import Array


def margins(kind: str, sizes: Sequence[int], spans: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the padding before and after each spatial dimension.

    Args:
        kind: "valid", "same" (the odd one goes after) or "same_lower" (it goes before).
        sizes: of the input.
        spans: of the kernel, dilation included.
        steps: the strides.

    Raises:
        ConversionError: the kind is not known.
    """
    if kind == "valid":
        return [0] * (2 * len(sizes))
    if kind not in {"same", "same_lower"}:
        raise ConversionError(f"its pad_type {kind!r} is not known")
    found = []
    for size, span, step in zip(sizes, spans, steps, strict=True):
        total = max(0, (-(-size // step) - 1) * step + span - size)
        small, large = total // 2, total - total // 2
        found += [small, large] if kind == "same" else [large, small]
    return found


def padded(x: Array, around: Sequence[int], value: float) -> Array:
    """Return N x C x spatial padded with one value, `around` as `margins` gives it."""
    if not any(around):
        return x
    pairs = [(0, 0), (0, 0), *zip(around[::2], around[1::2], strict=True)]
    return np.pad(x, pairs, constant_values=np.asarray(value, x.dtype))


def taps(
    x: Array, kernel: Sequence[int], steps: Sequence[int], dilations: Sequence[int], sizes: Sequence[int]
) -> Iterator[Array]:
    """Yield for each place of the kernel the view of N x C x spatial that meets it, N x C x `sizes`."""
    for place in itertools.product(*(range(k) for k in kernel)):
        begins = [p * d for p, d in zip(place, dilations, strict=True)]
        cut = (slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(begins, steps, sizes, strict=True))
        yield x[(slice(None), slice(None), *cut)]


_CACHED = 1 << 16
"""So many elements of a sum at a time."""


@evaluates("conv")
def _conv(given: Given) -> Array:
    x, weight = given["x"], given["weight"]
    kernel, ones = weight.shape[2:], [1] * (x.ndim - 2)
    steps, dilations = given.ints("strides", ones), given.ints("dilations", ones)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    kind = given.text("pad_type", "valid")
    around = given.ints("pad") if kind == "custom" else margins(kind, x.shape[2:], spans, steps)
    x = padded(x, around, 0.0)
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], spans, steps, strict=True)]
    found = taps(x, kernel, steps, dilations, sizes)
    groups = given.integer("groups", 1)
    bias = given.array("bias")
    if weight.shape[1] == 1 and groups == x.shape[1]:
        made = _depthwise(found, weight, (x.shape[0], weight.shape[0], *sizes))
    else:
        made = _dense(found, weight, groups, sizes)
    if bias is not None:
        made += bias.reshape(-1, *ones)
    return made


def _depthwise(found: Iterator[Array], weight: Array, shape: tuple[int, ...]) -> Array:
    """Sum the taps, each times its place of the kernel; a channel may give several.

    A few channels at a time, so that their sums stay in the processor's cache.
    """
    total = np.zeros(shape, np.float32)
    places = weight.reshape(weight.shape[0], -1).T.reshape(-1, 1, weight.shape[0], *[1] * (len(shape) - 2))
    views = list(found)
    repeats = shape[1] // views[0].shape[1]
    width = max(1, _CACHED // max(1, total[:, 0].size * repeats))  # channels of the input at a time
    term = np.empty_like(total[:, : width * repeats])
    for begin in range(0, views[0].shape[1], width):
        part = slice(begin * repeats, (begin + width) * repeats)
        into = total[:, part]
        room = term[:, : into.shape[1]]
        for view, place in zip(views, places, strict=True):
            tap = view[:, begin : begin + width]
            np.multiply(tap if repeats == 1 else np.repeat(tap, repeats, axis=1), place[:, part], out=room)
            into += room
    return total


def _dense(found: Iterator[Array], weight: Array, groups: int, sizes: Sequence[int]) -> Array:
    """Multiply the taps, as columns, by the kernel as a matrix, group by group."""
    views = list(found)
    places, batch, channels = len(views), views[0].shape[0], views[0].shape[1]
    columns = views[0] if places == 1 else np.stack(views, axis=2)  # N x C x places x sizes
    columns = columns.reshape(batch, groups, channels // groups * places, -1)
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    return np.asarray(np.matmul(rows, columns)).reshape(batch, weight.shape[0], *sizes)


def _biased(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias.reshape(-1, *[1] * (x.ndim - 2))


@evaluates("conv_transpose")
def _conv_transpose(given: Given) -> Array:
    x, weight = given["x"], given["weight"]
    groups, ones = given.integer("groups", 1), [1] * (x.ndim - 2)
    steps, dilations = given.ints("strides", ones), given.ints("dilations", ones)
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    whole = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], steps, spans, strict=True)]
    batch, channels = x.shape[0], weight.shape[1] * groups
    parts = x.reshape(batch, groups, x.shape[1] // groups, -1)
    places = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1).transpose(3, 0, 2, 1)
    total = np.zeros((batch, channels, *whole), np.float32)
    for view, place in zip(taps(total, weight.shape[2:], steps, dilations, x.shape[2:]), places, strict=True):
        view += np.matmul(place, parts).reshape(view.shape)  # noqa: PLW2901 - a view: this adds to `total`
    return _biased(_cropped(total, given, x.shape[2:], steps), given.array("bias"))


def _cropped(total: Array, given: Given, sizes: Sequence[int], steps: Sequence[int]) -> Array:
    """Cut a transposed convolution's whole result to what its padding leaves, or fill it up with zeros."""
    kind, whole = given.text("pad_type", "valid"), total.shape[2:]
    around = given.ints("pad", [0] * (2 * len(whole))) if kind == "custom" else [0] * (2 * len(whole))
    wanted = [n - a - b for n, a, b in zip(whole, around[::2], around[1::2], strict=True)]
    if kind in {"same", "same_lower"}:
        wanted = [n * s for n, s in zip(sizes, steps, strict=True)]
    if given.array("output_shape") is not None:
        wanted = given.ints("output_shape")[2:]
    begins = around[::2]
    if kind in {"same", "same_lower"}:
        spare = [max(0, n - w) for n, w in zip(whole, wanted, strict=True)]
        begins = [n // 2 if kind == "same" else n - n // 2 for n in spare]
    short = [max(0, b + w - n) for b, w, n in zip(begins, wanted, whole, strict=True)]
    total = padded(total, list(itertools.chain(*((0, n) for n in short))), 0.0)
    cut = (slice(b, b + w) for b, w in zip(begins, wanted, strict=True))
    return total[(slice(None), slice(None), *cut)]


@evaluates("linear")
def _linear(given: Given) -> Array:
    found = np.asarray(np.matmul(given["x"], given["weight"].T))
    bias = given.array("bias")
    return found if bias is None else found + bias


@evaluates("matmul")
def _matmul(given: Given) -> Array:
    x, y = given["x"], given["y"]
    if given.flag("transpose_x"):
        x = np.swapaxes(x, -1, -2)
    if given.flag("transpose_y"):
        y = np.swapaxes(y, -1, -2)
    return np.asarray(np.matmul(x, y))


@evaluates("einsum")
def _einsum(given: Given) -> Array:
    return np.asarray(np.einsum(given.text("equation", ""), *given.many("values"), optimize=True))


@evaluates("scaled_dot_product_attention")
def _attention(given: Given) -> Array:
    query, key, value = given["query"], given["key"], given["value"]
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) / np.float32(np.sqrt(query.shape[-1]))
    mask = given.array("attn_mask")
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(np.matmul(weights / weights.sum(axis=-1, keepdims=True), value))
