"""Memory that temporary graphs leave behind goes back to the system."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from edgekit.source import memory

PAGES = 4096
SMALL = 1 << 10
KEPT = 64


def resident():
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * PAGES


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_was_freed_in_small_pieces_goes_back():
    import ctypes

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [libc.malloc(SMALL) for _ in range(100_000)]
    for piece in pieces:
        ctypes.memset(piece, 1, SMALL)
    for index, piece in enumerate(pieces):
        if index % KEPT:  # what stays lies between what goes
            libc.free(piece)
    before = resident()
    memory.give_back()
    assert resident() < before - 30_000_000
    for piece in pieces[::KEPT]:
        libc.free(piece)


def test_cycles_are_freed_only_when_asked_for():
    class Loop:
        pass

    gc.disable()
    try:
        loop = Loop()
        loop.itself = loop
        gone = weakref.ref(loop)
        del loop
        memory.give_back()
        assert gone() is not None
        memory.give_back(cycles=True)
        assert gone() is None
    finally:
        gc.enable()


def test_without_glibc_nothing_happens(monkeypatch):
    memory._trim.cache_clear()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    try:
        memory.give_back()
        memory.hold_on()
        assert memory._trim()(0) is None
    finally:
        memory._trim.cache_clear()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_big_pieces_stay_with_the_process_until_they_are_given_back():
    code = """
import ctypes, sys
from edgekit.source import memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "hold": memory.hold_on()
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
piece = libc.malloc(20_000_000)
ctypes.memset(piece, 1, 20_000_000)
full = resident()
libc.free(piece)
kept = full - resident() < 1_000_000
memory.give_back()
print(kept, full - resident() > 15_000_000)
"""
    found = {
        way: subprocess.run(
            [sys.executable, "-c", code, way], capture_output=True, text=True, check=True
        ).stdout
        for way in ("hold", "leave")
    }
    assert found == {"hold": "True True\n", "leave": "False True\n"}
