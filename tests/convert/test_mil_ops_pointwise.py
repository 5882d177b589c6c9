"""Operations of ML programs element by element, reductions and norms, against torch, TensorFlow and numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.errors import ConversionError

pytestmark = pytest.mark.convert
X = np.linspace(-4, 4, 60, dtype=np.float32).reshape(1, 3, 4, 5)
P = np.linspace(0.05, 3, 60, dtype=np.float32).reshape(1, 3, 4, 5)
U = np.linspace(-0.95, 0.95, 60, dtype=np.float32).reshape(1, 3, 4, 5)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="the torch extra is not installed")


def close(got, wanted, tolerance=2e-6):
    np.testing.assert_allclose(got, np.asarray(wanted), rtol=tolerance, atol=tolerance)


TORCHS = {
    "abs": ("abs", X), "acos": ("acos", U), "asin": ("asin", U), "atan": ("atan", X), "atanh": ("atanh", U),
    "ceil": ("ceil", X), "cos": ("cos", X), "cosh": ("cosh", X), "erf": ("erf", X), "exp": ("exp", X),
    "exp2": ("exp2", X), "floor": ("floor", X), "relu": ("relu", X), "round": ("round", X),
    "rsqrt": ("rsqrt", P), "inverse": ("reciprocal", P + 10), "sigmoid": ("sigmoid", 8 * X),
    "sign": ("sign", X),
    "sin": ("sin", X), "sinh": ("sinh", X), "sqrt": ("sqrt", P), "square": ("square", X), "tan": ("tan", U),
    "tanh": ("tanh", X), "log": ("log", P),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHS)
def test_unary(mil, torch, name):
    theirs, x = TORCHS[name]
    close(mil(name, x=x), getattr(torch, theirs)(torch.tensor(x)), 2e-5)


ACTIVATIONS = {
    "relu6": ("relu6", {}, {}),
    "silu": ("silu", {}, {}),
    "softplus": ("softplus", {}, {}),
    "softsign": ("softsign", {}, {}),
    "leaky_relu": ("leaky_relu", {"alpha": 0.3}, {"negative_slope": 0.3}),
    "elu": ("elu", {"alpha": 1.5}, {"alpha": 1.5}),
    "thresholded_relu": ("threshold", {"alpha": 0.7}, {"threshold": 0.7, "value": 0.0}),
    "clip": ("hardtanh", {"alpha": -1.5, "beta": 2.5}, {"min_val": -1.5, "max_val": 2.5}),
    "sigmoid_hard": ("hardsigmoid", {"alpha": 1 / 6, "beta": 0.5}, {}),
    "gelu": ("gelu", {}, {}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(mil, torch, name):
    theirs, ours, settings = ACTIVATIONS[name]
    ours = {key: np.float32(value) for key, value in ours.items()}
    close(mil(name, x=X, **ours), getattr(torch.nn.functional, theirs)(torch.tensor(X), **settings))


def test_the_forms_of_gelu(mil, torch):
    close(
        mil("gelu", x=X, mode="TANH_APPROXIMATION"),
        torch.nn.functional.gelu(torch.tensor(X), approximate="tanh"),
    )
    close(mil("gelu", x=X, mode="SIGMOID_APPROXIMATION"), X / (1 + np.exp(-1.702 * X)))
    with pytest.raises(ConversionError, match="mode 'ROUGH' is not known"):
        mil("gelu", x=X, mode="ROUGH")


def test_a_large_value_does_not_overflow(mil):
    far = np.float32([-1e4, 0, 1e4])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(mil("sigmoid", x=far), [0, 0.5, 1])
        np.testing.assert_array_equal(mil("softmax", x=far), [0, 0, 1])
        np.testing.assert_array_equal(mil("softplus", x=far)[2], 1e4)


def test_activations_of_a_channel(mil, torch):
    alpha, beta = np.float32([0.1, 0.5, 2]), np.float32([1, 2, 3])
    close(mil("prelu", x=X, alpha=alpha), torch.nn.functional.prelu(torch.tensor(X), torch.tensor(alpha)))
    wanted = alpha[:, None, None] * np.log1p(np.exp(X * beta[:, None, None]))
    close(mil("softplus_parametric", x=X, alpha=alpha, beta=beta), wanted)


def test_activations_of_two_numbers(mil):
    pair = {"alpha": np.float32(0.5), "beta": np.float32(1.5)}
    close(mil("clamped_relu", x=X, **pair), np.minimum(np.where(X >= 0, X, 0.5 * X), 1.5))
    close(mil("scaled_tanh", x=X, **pair), 0.5 * np.tanh(1.5 * X))
    close(mil("linear_activation", x=X, **pair), 0.5 * X + 1.5)
    close(mil("threshold", x=X, alpha=np.float32(0.5)), np.maximum(X, 0.5))


BINARY = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y, "maximum": lambda x, y: max(y, x),
    "minimum": lambda x, y: min(y, x), "pow": lambda x, y: abs(x) ** y,
    "floor_div": lambda x, y: math.floor(x / y), "mod": lambda x, y: x - y * math.floor(x / y),
    "equal": lambda x, y: x == y, "not_equal": lambda x, y: x != y, "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y, "greater": lambda x, y: x > y, "greater_equal": lambda x, y: x >= y,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary_with_broadcasting(mil, name):
    x, y = np.float32([[-3.5], [0.5], [2.0]]), np.float32([0.5, 2.0, -1.25])
    x = np.abs(x) if name == "pow" else x
    wanted = [[BINARY[name](float(a), float(b)) for b in y] for a in x[:, 0]]
    close(mil(name, x=x, y=y), wanted)


def test_logic(mil):
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert mil("logical_and", x=x, y=y).tolist() == [True, False, False, False]
    assert mil("logical_or", x=x, y=y).tolist() == [True, True, True, False]
    assert mil("logical_xor", x=x, y=y).tolist() == [False, True, True, False]
    assert mil("logical_not", x=x).tolist() == [False, False, True, True]
    assert mil("select", cond=x, a=np.arange(4), b=np.full(4, 9)).tolist() == [0, 1, 9, 9]


REDUCTIONS = {
    "reduce_l1_norm": lambda x, **k: np.abs(x).sum(**k),
    "reduce_l2_norm": lambda x, **k: np.sqrt((x**2).sum(**k)),
    "reduce_log_sum": lambda x, **k: np.log(x.sum(**k)),
    "reduce_log_sum_exp": lambda x, **k: np.log(np.exp(x).sum(**k)),
    "reduce_max": np.max, "reduce_mean": np.mean, "reduce_min": np.min, "reduce_prod": np.prod,
    "reduce_sum": np.sum, "reduce_sum_square": lambda x, **k: (x**2).sum(**k),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, [2, 3], [-1], [1]])
@pytest.mark.parametrize("keep", [None, False, True])
def test_reductions(mil, name, axes, keep):
    over = {"axis": None if axes is None else tuple(axes), "keepdims": bool(keep)}
    got = mil(name, x=P, axes=axes, keep_dims=keep)
    wanted = REDUCTIONS[name](P.astype(np.float64), **over)
    assert got.shape == np.shape(wanted)
    close(got, wanted, 1e-5)


def test_places_of_the_largest_and_smallest(mil, rng):
    x = rng.normal(size=(2, 5, 4)).astype(np.float32)
    assert mil("reduce_argmax", x=x, axis=1).tolist() == x.argmax(1).tolist()
    assert mil("reduce_argmin", x=x).tolist() == x.argmin(-1).tolist()
    assert mil("reduce_argmax", x=x, axis=1, keep_dims=True).shape == (2, 1, 4)


@pytest.mark.parametrize("axis", [None, 1, -2])
def test_softmax(mil, torch, axis):
    close(mil("softmax", x=X, axis=axis), torch.softmax(torch.tensor(X), -1 if axis is None else axis))


@pytest.mark.parametrize(
    ("exclusive", "reverse"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_cumsum(mil, exclusive, reverse):
    tf = pytest.importorskip("tensorflow", reason="the convert extra is not installed")
    got = mil("cumsum", x=X, axis=2, exclusive=exclusive, reverse=reverse)
    close(got, tf.cumsum(X, 2, exclusive=exclusive, reverse=reverse), 1e-5)


def test_norms_are_torchs(mil, rng, torch):
    x = rng.normal(size=(2, 6, 5, 4)).astype(np.float32)
    gamma, beta, mean = rng.normal(size=(3, 6)).astype(np.float32)
    variance = rng.uniform(0.2, 2, 6).astype(np.float32)
    given, functional = torch.tensor(x), torch.nn.functional
    tensors = {"weight": torch.tensor(gamma), "bias": torch.tensor(beta)}
    pair = {"gamma": gamma, "beta": beta}
    wanted = functional.batch_norm(given, torch.tensor(mean), torch.tensor(variance), **tensors, eps=1e-3)
    close(mil("batch_norm", x=x, mean=mean, variance=variance, **pair, epsilon=1e-3), wanted, 1e-5)
    bare = functional.batch_norm(given, torch.tensor(mean), torch.tensor(variance))
    close(mil("batch_norm", x=x, mean=mean, variance=variance), bare, 1e-5)
    close(mil("instance_norm", x=x, **pair), functional.instance_norm(given, **tensors), 1e-5)
    close(mil("instance_norm", x=x), functional.instance_norm(given), 1e-5)
    for size in (3, 4):
        close(
            mil("local_response_norm", x=x, size=size, alpha=0.1, k=2.0),
            functional.local_response_norm(given, size, alpha=0.1, k=2.0),
            1e-5,
        )


@pytest.mark.parametrize("axes", [[-1], [2, 3], [1, 2, 3]])
def test_layer_norm_is_torchs(mil, rng, torch, axes):
    x = rng.normal(size=(2, 6, 5, 4)).astype(np.float32)
    shape = [x.shape[a] for a in axes]
    gamma, beta = rng.normal(size=(2, *shape)).astype(np.float32)
    wanted = torch.nn.functional.layer_norm(torch.tensor(x), shape, torch.tensor(gamma), torch.tensor(beta))
    close(mil("layer_norm", x=x, axes=axes, gamma=gamma, beta=beta), wanted, 1e-5)
    close(mil("layer_norm", x=x, axes=axes), torch.nn.functional.layer_norm(torch.tensor(x), shape), 1e-5)


def test_l2_norm(mil):
    close(mil("l2_norm", x=X), X / math.sqrt((X.astype(np.float64) ** 2).sum() + 1e-6))
