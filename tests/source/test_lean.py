"""Imports in EdgeKit's own process leave out what no conversion needs; nobody else's do."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest

from edgekit.source import lean

OWN = """
import json, sys
from edgekit.source import lean
{before}
with lean.imports():
    import {library}
first = sorted(n for n in lean.NEEDLESS if n in sys.modules)
from edgekit.source import load_source
found = load_source("squeezenet_1.1", resolution=32, classes=4).output.shape
print(json.dumps([first, list(found)]))
"""


def imported(library, before):
    code = OWN.format(library=library, before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.convert
@pytest.mark.parametrize("library", ["keras", "coremltools"])
def test_our_own_process_imports_nothing_needless(library):
    pytest.importorskip("tensorflow", reason="the convert extra is not installed")
    assert imported(library, "lean.own_process()") == [[], [1, 4]]


@pytest.mark.convert
def test_a_users_program_imports_as_always():
    pytest.importorskip("sklearn", reason="nothing to leave out here")
    pytest.importorskip("tensorflow", reason="the convert extra is not installed")
    assert imported("keras", "")[0] == ["sklearn"]


@pytest.mark.convert
@pytest.mark.parametrize(("before", "kept"), [("lean.own_process()", True), ("", False)])
def test_only_our_own_process_is_set_up_for_conversions_alone(before, kept):
    """What was imported is not walked over any more, and memory is the C library's."""
    pytest.importorskip("tensorflow", reason="the convert extra is not installed")
    code = f"""
import gc, os
from edgekit.source import lean
{before}
with lean.imports():
    import tensorflow
print(gc.get_freeze_count() > 100_000, "TF_ONEDNN_USE_SYSTEM_ALLOCATOR" in os.environ)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{kept} {kept}\n"


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.setattr(lean, "_ours", True)
    monkeypatch.setattr(lean, "NEEDLESS", ("colorsys", "this_is_there"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    there = type(sys)("this_is_there")
    monkeypatch.setitem(sys.modules, "this_is_there", there)
    return there


def test_what_is_left_out_can_be_imported_afterwards(ours):
    with lean.imports():
        with pytest.raises(ImportError):
            import colorsys
        import this_is_there

        assert this_is_there is ours
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_an_error_leaves_nothing_held_back(ours):
    assert ours is sys.modules["this_is_there"]
    with pytest.raises(RuntimeError, match="broken"), lean.imports():
        raise RuntimeError("broken")
    assert "colorsys" not in sys.modules
    assert gc.isenabled()


def test_collecting_stays_off_where_it_was_off(monkeypatch):
    monkeypatch.setattr(lean, "_ours", False)
    gc.disable()
    try:
        with lean.imports():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_command_line_is_our_own_process(monkeypatch, capsys):
    from edgekit.cli.main import main

    monkeypatch.setattr(lean, "_ours", False)
    monkeypatch.setenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "0")  # a user's own choice stays
    assert main(["zoo", "list"]) == 0  # called by a program
    assert not lean._ours
    monkeypatch.setattr(sys, "argv", ["edgekit", "zoo", "list"])
    assert main() == 0
    assert capsys.readouterr().out
    assert lean._ours
    assert os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] == "0"
