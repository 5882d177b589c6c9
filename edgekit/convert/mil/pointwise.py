"""Operations of ML programs that work element by element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.mil.operations import Given, evaluates
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.mil.values import Array

_UNARY: dict[str, Callable[[Any], Any]] = {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "logical_not": np.logical_not,
    "round": np.round,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "mod": np.mod,
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "real_div": np.true_divide,
    "sub": np.subtract,
}
_EXACT: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "relu6": lambda x: np.clip(x, np.float32(0), np.float32(6)),
}


def _unary(function: Callable[[Any], Any]) -> Callable[[Given], Array]:
    return lambda given: function(given["x"])


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Given], Array]:
    return lambda given: function(given["x"], given["y"])


for _name, _function in _UNARY.items():
    evaluates(_name)(_unary(_function))
for _name, _function in _EXACT.items():
    evaluates(_name, exact=True)(_unary(_function))
for _name, _pair in _BINARY.items():
    evaluates(_name)(_binary(_pair))
evaluates("maximum", exact=True)(_binary(np.maximum))
evaluates("minimum", exact=True)(_binary(np.minimum))


@evaluates("cast")
def _cast(given: Given) -> Array:
    return np.asarray(given["x"])  # the output's declared type says to what


@evaluates("select", exact=True)
def _select(given: Given) -> Array:
    return np.where(given["cond"], given["a"], given["b"])


@evaluates("clip", exact=True)
def _clip(given: Given) -> Array:
    return np.clip(given["x"], given["alpha"], given["beta"])


@evaluates("log")
def _log(given: Given) -> Array:
    return np.asarray(np.log(given["x"] + np.float32(given.number("epsilon", 1e-45))))


@evaluates("rsqrt")
def _rsqrt(given: Given) -> Array:
    return np.asarray(1 / np.sqrt(given["x"] + np.float32(given.number("epsilon", 1e-12))))


@evaluates("inverse")
def _inverse(given: Given) -> Array:
    return np.asarray(1 / (given["x"] + np.float32(given.number("epsilon", 1e-4))))


@evaluates("threshold", exact=True)
def _threshold(given: Given) -> Array:
    return np.maximum(given["x"], given["alpha"])


@evaluates("thresholded_relu", exact=True)
def _thresholded_relu(given: Given) -> Array:
    x = given["x"]
    return np.where(x >= given["alpha"], x, np.float32(0))


@evaluates("leaky_relu")
def _leaky_relu(given: Given) -> Array:
    x = given["x"]
    return np.where(x >= 0, x, x * given["alpha"])


@evaluates("prelu")
def _prelu(given: Given) -> Array:
    x = given["x"]
    return np.where(x > 0, x, x * channels(given["alpha"], x))


@evaluates("clamped_relu")
def _clamped_relu(given: Given) -> Array:
    x = given["x"]
    return np.minimum(np.where(x >= 0, x, x * given["alpha"]), given["beta"])


@evaluates("elu")
def _elu(given: Given) -> Array:
    x = given["x"]
    return np.where(x > 0, x, given["alpha"] * np.expm1(np.minimum(x, 0)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


evaluates("sigmoid")(_unary(sigmoid))
evaluates("silu")(_unary(lambda x: x * sigmoid(x)))


@evaluates("sigmoid_hard")
def _sigmoid_hard(given: Given) -> Array:
    return np.asarray(np.clip(given["alpha"] * given["x"] + given["beta"], np.float32(0), np.float32(1)))


@evaluates("scaled_tanh")
def _scaled_tanh(given: Given) -> Array:
    return np.asarray(given["alpha"] * np.tanh(given["beta"] * given["x"]))


@evaluates("linear_activation")
def _linear_activation(given: Given) -> Array:
    return np.asarray(given["alpha"] * given["x"] + given["beta"])


@evaluates("softplus")
def _softplus(given: Given) -> Array:
    return np.logaddexp(given["x"], np.float32(0))


@evaluates("softplus_parametric")
def _softplus_parametric(given: Given) -> Array:
    x = given["x"]
    return np.asarray(
        channels(given["alpha"], x) * np.logaddexp(x * channels(given["beta"], x), np.float32(0))
    )


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float32)


evaluates("erf")(_unary(_erf))


@evaluates("gelu")
def _gelu(given: Given) -> Array:
    x, mode = given["x"], given.text("mode", "EXACT")
    if mode == "EXACT":
        return np.asarray(0.5 * x * (1 + _erf(x * np.float32(math.sqrt(0.5)))))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    if mode == "SIGMOID_APPROXIMATION":
        return np.asarray(x * sigmoid(1.702 * x))
    raise ConversionError(f"its mode {mode!r} is not known")


def channels(values: Array, x: Array) -> Array:
    """Return one value a channel in a shape that meets N x C x spatial."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
