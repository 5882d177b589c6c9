"""Device trees as boards have them, written into a folder that stands for the device's root."""

import pytest

from edgekit import probes
from edgekit.runners.transport import open_transport
from edgekit.targets import Device


class Tree:
    """Files below a folder that stands for a device's root."""

    def __init__(self, root):
        self.root = root

    def put(self, folder, **files):
        """Write files into a folder; __ in a name stands for a colon, a value of None for no file."""
        place = self.root / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            if value is not None:
                (place / name.replace("__", ":")).write_text(f"{value}\n")
        return place


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "device")


@pytest.fixture
def local(tmp_path, monkeypatch):
    """This machine as a device, with EdgeKit's folder in a place of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


@pytest.fixture
def look(tree, local):
    """Look for sensors of some families below the tree's root."""

    def look(*families, target=None, sensor="", facts=None):
        chosen = [family(root=str(tree.root)) for family in families]
        return probes.find(local, facts or {}, target, sensor=sensor, probes=chosen)

    return look


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Put a program of that name first in PATH that prints a text."""

    def make(name, text):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.txt").write_text(text)
        (folder / name).write_text(f'#!/bin/sh\ncat "{folder}/{name}.txt"\n')
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return make
