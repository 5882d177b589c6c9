"""Reductions, softmax and normalizations of ML programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.convert.mil.pointwise import channels

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.mil.values import Array


def _log_sum_exp(x: Array, **over: Any) -> Array:
    largest = np.max(x, axis=over["axis"], keepdims=True)
    total = np.log(np.sum(np.exp(x - largest), axis=over["axis"], keepdims=True)) + largest
    return np.asarray(total if over["keepdims"] else np.squeeze(total, axis=over["axis"]))


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_l1_norm": lambda x, **over: np.sum(np.abs(x), **over),
    "reduce_l2_norm": lambda x, **over: np.sqrt(np.sum(x * x, **over)),
    "reduce_log_sum": lambda x, **over: np.log(np.sum(x, **over)),
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **over: np.sum(x * x, **over),
}


def _reduction(function: Callable[..., Any]) -> Callable[[Given], Array]:
    def reduce(given: Given) -> Array:
        x = given["x"]
        axes = tuple(given.ints("axes", range(x.ndim)))
        return np.asarray(function(x, axis=axes, keepdims=given.flag("keep_dims")))

    return reduce


for _name, _function in _REDUCTIONS.items():
    evaluates(_name)(_reduction(_function))


def _place(function: Callable[..., Any]) -> Callable[[Given], Array]:
    return lambda given: function(
        given["x"], axis=given.integer("axis", -1), keepdims=given.flag("keep_dims")
    )


evaluates("reduce_argmax")(_place(np.argmax))
evaluates("reduce_argmin")(_place(np.argmin))


@evaluates("softmax")
def _softmax(given: Given) -> Array:
    x, axis = given["x"], given.integer("axis", -1)
    found = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return np.asarray(found / np.sum(found, axis=axis, keepdims=True))


@evaluates("cumsum")
def _cumsum(given: Given) -> Array:
    x, axis = given["x"], given.integer("axis", 0)
    if given.flag("reverse"):
        x = np.flip(x, axis)
    found = np.cumsum(x, axis=axis, dtype=x.dtype)
    if given.flag("exclusive"):
        found = found - x
    return np.flip(found, axis) if given.flag("reverse") else found


@evaluates("batch_norm")
def _batch_norm(given: Given) -> Array:
    x = given["x"]
    scale = 1 / np.sqrt(given["variance"] + np.float32(given.number("epsilon", 1e-5)))
    return _scaled((x - channels(given["mean"], x)) * channels(scale, x), given)


@evaluates("instance_norm")
def _instance_norm(given: Given) -> Array:
    x = given["x"]
    return _scaled(_standard(x, tuple(range(2, x.ndim)), given), given)


@evaluates("layer_norm")
def _layer_norm(given: Given) -> Array:
    x = given["x"]
    axes = tuple(sorted(a % x.ndim for a in given.ints("axes", range(x.ndim))))
    found = _standard(x, axes, given)
    shape = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    gamma, beta = given.array("gamma"), given.array("beta")
    if gamma is not None:
        found = found * gamma.reshape(shape)
    return found if beta is None else found + beta.reshape(shape)


def _standard(x: Array, axes: tuple[int, ...], given: Given) -> Array:
    """Return values less their mean over these axes, over their standard deviation."""
    centred = x - np.mean(x, axis=axes, keepdims=True)
    variance = np.mean(centred * centred, axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(given.number("epsilon", 1e-5))))


def _scaled(x: Array, given: Given) -> Array:
    """Return N x C x spatial times gamma plus beta, a value of each a channel, where they are given."""
    gamma, beta = given.array("gamma"), given.array("beta")
    if gamma is not None:
        x = x * channels(gamma, x)
    return x if beta is None else x + channels(beta, x)


@evaluates("l2_norm")
def _l2_norm(given: Given) -> Array:
    x = given["x"]
    total = np.sum(x * x, axis=(-3, -2, -1), keepdims=True)
    return np.asarray(x / np.sqrt(total + np.float32(given.number("epsilon", 1e-6))))


@evaluates("local_response_norm")
def _local_response_norm(given: Given) -> Array:
    x, size = given["x"], given.integer("size")
    pairs = [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2)
    squares = np.pad(x * x, pairs)
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    base = given.number("k", 1.0) + given.number("alpha", 1e-4) / size * total
    return np.asarray(x / base ** np.float32(given.number("beta", 0.75)))
