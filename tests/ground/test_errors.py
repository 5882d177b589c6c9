"""Errors are one line with the next step, in the tree that is drawn at the top of errors.py."""

import inspect
import re

import pytest

from edgekit import errors
from edgekit.errors import (
    CommandFailedError,
    DeviceError,
    EdgeKitError,
    MissingExtraError,
    ResultError,
    UnknownNameError,
    UsageError,
)

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, EdgeKitError)]


def test_the_drawn_tree_is_the_real_one():
    drawn, stack = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^([│├└─\s]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4
            stack[depth:] = [match[2]]
            drawn[match[2]] = stack[depth - 1] if depth else "Exception"
    assert drawn == {c.__name__: c.__bases__[0].__name__ for c in ALL}


@pytest.mark.parametrize("kind", ALL, ids=lambda c: c.__name__)
def test_exit_codes_follow_the_first_branch(kind):
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)
    assert not issubclass(kind, UsageError) or not issubclass(kind, (DeviceError, ResultError))


def test_a_message_is_one_line_whatever_it_is_made_of():
    error = EdgeKitError("first\nsecond\t third", hint="do\nthis", evidence="kept\nas it is")
    assert str(error) == "first second third: do this"
    assert error.evidence == "kept\nas it is"
    assert str(EdgeKitError("alone")) == "alone"


def test_a_device_stands_in_front():
    error = CommandFailedError("ssh://pi@b", "ls ended with 2", hint="look there")
    assert str(error) == "ssh://pi@b: ls ended with 2: look there"
    assert error.device == "ssh://pi@b"


@pytest.mark.parametrize(
    ("name", "known", "offered"),
    [
        ("tflite-int9", ["tflite-int8", "onnx-fp32"], "did you mean 'tflite-int8'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], "known: none"),
    ],
)
def test_the_nearest_name_is_offered_or_all(name, known, offered):
    assert str(UnknownNameError("recipe", name, known)) == f"unknown recipe {name!r}: {offered}"


def test_a_missing_library_names_the_extra():
    assert str(MissingExtraError("plotly", "report")) == (
        "plotly is not installed: pip install 'edgekit-sdk[report]'"
    )
