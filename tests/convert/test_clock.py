"""Steps are told as they begin and end, and their seconds are added up."""

from __future__ import annotations

import pytest

from edgekit.convert.base import Step
from edgekit.convert.clock import Clock


def test_a_step_is_told_twice_and_timed_once():
    told: list[Step] = []
    clock = Clock(told.append)
    with clock.step("tflite-int8", "convert"):
        assert told == [Step(recipe="tflite-int8", phase="convert")]
    assert [step.seconds is None for step in told] == [True, False]
    assert told[1].seconds == clock.seconds["tflite-int8"] >= 0


def test_phases_of_a_recipe_add_up_and_shared_ones_have_their_own_name():
    told: list[Step] = []
    clock = Clock(told.append)
    for recipe, phase in (("a", "convert"), ("a", "prove"), ("", "freeze"), ("b", "convert"), ("a", "write")):
        with clock.step(recipe, phase):
            pass
    assert set(clock.seconds) == {"a", "b", "freeze"}
    ended = [step for step in told if step.seconds is not None]
    assert clock.seconds["a"] == pytest.approx(sum(s.seconds for s in ended if s.recipe == "a"))
    assert len(ended) == len(told) / 2 == 5


def test_a_step_that_fails_is_timed_and_not_told_as_done():
    told: list[Step] = []
    clock = Clock(told.append)
    with pytest.raises(KeyError), clock.step("a", "convert"):
        raise KeyError("broken")
    assert [step.seconds for step in told] == [None]
    assert clock.seconds["a"] >= 0


def test_steps_lie_within_each_other():
    told: list[Step] = []
    clock = Clock(told.append)
    with clock.step("", "calibrate"), clock.step("a", "convert"):
        pass
    assert [(s.phase, s.seconds is None) for s in told] == [
        ("calibrate", True), ("convert", True), ("convert", False), ("calibrate", False),
    ]  # fmt: skip
    assert clock.seconds["calibrate"] >= clock.seconds["a"]


def test_counting_tells_how_far():
    told: list[Step] = []
    clock = Clock(told.append)
    for done in (8, 16, 20):
        clock.count(done, 20)
    assert [(s.phase, s.done, s.total) for s in told] == [("calibrate", n, 20) for n in (8, 16, 20)]
    assert clock.seconds == {}


def test_nobody_has_to_listen():
    clock = Clock(None)
    with clock.step("a", "convert"):
        clock.count(1, 2)
    assert set(clock.seconds) == {"a"}


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step(recipe="", phase="freeze"), "freeze"),
        (Step(recipe="onnx-int8", phase="prove"), "prove onnx-int8"),
        (Step(recipe="onnx-int8", phase="prove", seconds=1.26), "prove onnx-int8 (1.3 s)"),
        (Step(recipe="", phase="calibrate", done=3, total=9), "calibrate"),
    ],
)
def test_a_step_reads_well(step, text):
    assert str(step) == text


def test_a_listener_that_raises_stops_the_work():
    """Ctrl-C may come while a step is told."""

    def listener(_step):
        raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt), Clock(listener).step("a", "convert"):
        done.append("convert")
    assert done == []
