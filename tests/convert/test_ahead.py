"""Float forms that are made in the background while ranges are measured."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("tensorflow", reason="the convert extra is not installed")

from edgekit.convert import convert
from edgekit.convert.ahead import Ahead
from edgekit.convert.base import CONVERTERS, Work
from edgekit.errors import ConversionError
from edgekit.recipe import parse_recipes
from edgekit.source.freezing import freeze

RECIPES = parse_recipes(["tflite-fp32", "tflite-int8", "onnx-fp32"])


@pytest.fixture(scope="module")
def frozen(source):
    return freeze(source)


@pytest.mark.convert
def test_each_form_is_made_once_in_another_thread(frozen, monkeypatch):
    from edgekit.convert import onnx, tflite

    made = []
    for module, name in ((tflite, "_float_file"), (onnx, "_float_proto")):
        plain = getattr(module, name)

        def make(graph, name=name, plain=plain):
            made.append((name, threading.current_thread() is threading.main_thread()))
            return plain(graph)

        monkeypatch.setattr(module, name, make)
    with Ahead() as ahead:
        ahead.start(frozen, RECIPES)
        work = Work(frozen=frozen, shared=dict(ahead.forms))
        forms = [work.float_once(name, "fp32", make) for name in ("tflite", "onnx") for _ in range(2)]
    assert made == [("_float_file", False), ("_float_proto", False)]
    assert forms[0] is forms[1]
    assert forms[2] is forms[3]
    assert forms[0] == tflite._float_file(frozen)


@pytest.mark.convert
def test_a_form_that_fails_fails_its_recipes_alone(source, calibration, tmp_path, monkeypatch):
    from edgekit.convert import tflite

    def fail(_frozen):
        raise ConversionError("TFLite can't express this")

    monkeypatch.setattr(tflite, "_float_file", fail)
    result = convert(source, RECIPES, tmp_path / "b", calibration=calibration)
    assert [f.recipe for f in result.failed] == ["tflite-fp32", "tflite-int8"]
    assert {str(f.error) for f in result.failed} == {"TFLite can't express this"}
    assert result.made == ("onnx-fp32",)


def test_what_is_not_begun_when_the_block_ends_is_left(monkeypatch):
    begun, go_on, made = threading.Event(), threading.Event(), []

    class Slow:
        def __init__(self, name):
            self.name = name

        def early(self, _frozen):
            def make(_frozen):
                made.append(self.name)
                begun.set()
                go_on.wait(10)

            return self.name, make

    monkeypatch.setattr(type(CONVERTERS), "get", lambda _, name: Slow(name))

    def stopped():
        with Ahead() as ahead:
            ahead.start(None, RECIPES)
            begun.wait(10)
            threading.Timer(0.05, go_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert made == ["tflite"]
    assert not [t for t in threading.enumerate() if t.name.startswith("edgekit-ahead")]


def test_a_format_without_an_early_form_waits_for_its_turn(monkeypatch):
    monkeypatch.setattr(type(CONVERTERS), "get", lambda *_: object())
    with Ahead() as ahead:
        ahead.start(None, RECIPES)
    assert ahead.forms == {}
