"""Graphs run as they are written, input by input, and hold nothing afterwards."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

import tensorflow as tf

from edgekit.source.running import as_written, opened, run_graph
from edgekit.source.trace import to_function, trace
from edgekit.source.types import run_each

pytestmark = pytest.mark.convert
SWITCH = "disable_meta_optimizer"


def switched_off():
    return bool(tf.config.optimizer.get_experimental_options().get(SWITCH, False))


@pytest.fixture
def graph_def():
    matrix = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)

    def call(x):
        return tf.nn.softmax(tf.reduce_mean(tf.nn.relu(x), [1, 2]) @ matrix)

    return trace(call, (1, 5, 5, 4), "written").to_graph_def()


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(6, 5, 5, 4)).astype(np.float32)


def test_the_optimizer_is_off_inside_and_as_before_outside():
    before = switched_off()
    with as_written():
        assert switched_off()
    assert switched_off() == before


def test_an_error_leaves_the_optimizer_as_it_was():
    before = switched_off()
    with pytest.raises(ZeroDivisionError), as_written():
        raise ZeroDivisionError
    assert switched_off() == before


def test_blocks_lie_within_each_other():
    before = switched_off()
    with as_written():
        with as_written():
            pass
        assert switched_off()
    assert switched_off() == before


def test_other_settings_stay():
    tf.config.optimizer.set_experimental_options({"constant_folding": True})
    with as_written():
        assert tf.config.optimizer.get_experimental_options()["constant_folding"]
    assert tf.config.optimizer.get_experimental_options()["constant_folding"]


def test_a_graph_gives_what_its_function_gives(graph_def, inputs):
    found = run_graph(graph_def, inputs)
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found, run_each(to_function(graph_def), inputs), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def test_inputs_are_run_one_by_one(inputs):
    """Whatever a network does with its batch, it sees one input at a time."""
    graph = trace(lambda x: x - tf.reduce_mean(x, axis=0, keepdims=True), (1, 5, 5, 4), "mean")
    assert not run_graph(graph.to_graph_def(), inputs).any()


def test_other_numbers_become_float32(graph_def, inputs):
    whole = np.rint(inputs * 4).astype(np.int8)
    wanted = run_graph(graph_def, whole.astype(np.float32))
    np.testing.assert_array_equal(run_graph(graph_def, whole), wanted)
    np.testing.assert_array_equal(run_graph(graph_def, whole.astype(np.float64)), wanted)


def test_the_same_bits_each_time(graph_def, inputs):
    np.testing.assert_array_equal(run_graph(graph_def, inputs), run_graph(graph_def, inputs))


def test_the_callers_graph_is_left_alone(graph_def, inputs):
    with tf.Graph().as_default() as mine:
        tf.constant(1.0)
        run_graph(graph_def, inputs[:1])
        assert len(mine.get_operations()) == 1


def test_a_session_is_closed_with_its_block():
    with tf.Graph().as_default() as graph:
        made = tf.constant([1.0, 2.0]) * 3.0
    with opened(graph) as session:
        np.testing.assert_array_equal(session.run(made), [3.0, 6.0])
    with pytest.raises(RuntimeError, match="closed Session"):
        session.run(made)


def test_a_wrong_input_is_an_error_and_not_an_answer(graph_def):
    with pytest.raises((ValueError, tf.errors.OpError)):
        run_graph(graph_def, np.zeros((1, 4, 4, 3), np.float32))
