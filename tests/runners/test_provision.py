"""Bringing a runtime along: what is checked, in which order, and what is told when it does not work."""

import dataclasses
import platform
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DeviceFullError, DeviceLostError, DeviceUnfitError, UsageError
from edgekit.runners.depot import Depot
from edgekit.runners.facts import inspect
from edgekit.runners.program import python_program
from edgekit.runners.provision import prepare
from edgekit.runners.runtime import Build, Runtime
from edgekit.runners.runtime.null import NULL
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device


def runtime_of(*builds, name="litert"):
    return Runtime(name=name, formats=("tflite",), builds=builds, env=(("EDGEKIT_TOY", "seven"),))


def toy(version="1.0", requires=(((7, 20), "numpy==1.0"),), **changes):
    fields = {"distribution": "toy", "version": version, "python": (7, 20), "glibc": (2, 1)}
    return Build(**{**fields, "abis": (platform.machine(),), "requires": requires, **changes})


def toy_wheels(make_wheel, shelf, interpreter=b"class Interpreter:\n    pass\n", version=b"'4.5'"):
    head = b"import os\nassert os.environ['EDGEKIT_TOY'] == 'seven'\n__version__ = " + version
    inside = [("ai_edge_litert/__init__.py", head), ("ai_edge_litert/interpreter.py", interpreter)]
    make_wheel("toy", "1.0", files=inside, folder=shelf)
    make_wheel("numpy", "1.0", files=[("numpy.py", b"")], folder=shelf)


def written(transport):
    root = Path(transport.root())
    return sorted(path for path in root.rglob("*") if path.is_file()) if root.exists() else []


def test_what_was_brought_is_told(local, shelf, make_wheel, tmp_path):
    toy_wheels(make_wheel, shelf)
    facts = inspect(local)
    ready = prepare(local, facts, runtime_of(toy()), Depot(local), cache=tmp_path / "wheels")
    assert (ready.version, ready.build) == ("4.5", toy())
    assert ready.command[:-1] == (facts.python, "-I")
    assert Path(ready.command[-1]).read_bytes() == python_program().read_bytes()
    (site,) = ready.site
    assert {path.name for path in Path(site).iterdir()} >= {"ai_edge_litert", "numpy.py", ".edgekit"}
    assert (Path(site) / "ai_edge_litert" / "__pycache__").is_dir()


def test_the_null_runtime_needs_a_python_and_no_more(local, make_facts, tmp_path):
    ready = prepare(local, inspect(local), NULL, Depot(local), program="python", cache=tmp_path / "w")
    assert (ready.site, ready.build) == ((), None)
    assert not (tmp_path / "w").exists()
    with pytest.raises(DeviceUnfitError, match="no Python there"):
        prepare(local, make_facts(python=None), NULL, Depot(local), program="python")


def test_a_library_that_would_not_load_is_found_before_a_push(local, shelf, make_wheel, make_facts, tmp_path):
    """The tag promises any glibc; the library itself asks for a real one."""
    library = min(Path(np.__file__).parent.glob("_core/*.so"))
    make_wheel("toy", "1.0", tag="py3-none-any", files=[("toy.so", library.read_bytes())], folder=shelf)
    make_wheel("numpy", "1.0", folder=shelf)
    old = dataclasses.replace(inspect(local), libc="glibc 2.1", libstdcxx=99)
    with pytest.raises(DeviceUnfitError, match=r"toy-1\.0-.* needs glibc 2\.\d+, the device has glibc 2\.1"):
        prepare(local, old, runtime_of(toy()), Depot(local), cache=tmp_path / "wheels")
    assert written(local) == []


def test_wheels_that_can_not_be_had_are_found_before_a_push(local, shelf, tmp_path):
    with pytest.raises(UsageError, match="can't be downloaded"):
        prepare(local, inspect(local), runtime_of(toy()), Depot(local), cache=tmp_path / "wheels")
    assert written(local) == []


def test_a_full_device_is_found_before_a_runtime_is_pushed(local, shelf, make_wheel, tmp_path, monkeypatch):
    toy_wheels(make_wheel, shelf)
    depot = Depot(local)
    depot.put(python_program())
    look = depot._look
    monkeypatch.setattr(depot, "_look", lambda remotes, *more: (look(remotes, *more)[0], 1000, ""))
    with pytest.raises(DeviceFullError, match="no room for the runtime"):
        prepare(local, inspect(local), runtime_of(toy()), depot, cache=tmp_path / "wheels")
    assert [path.name for path in written(local)] == [python_program().name]


BROKEN = {
    b"import no_such_thing\n": "ModuleNotFoundError: No module named 'no_such_thing'",
    b"raise OSError('libfoo.so.1: cannot open shared object file')\n": "libfoo.so.1: cannot open",
    b"import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n": "it was killed by SIGILL",
    b"print('hello')\nimport sys\nsys.exit('nothing to see')\n": "nothing to see",
    b"x = (\n": "SyntaxError",
}


@pytest.mark.parametrize("interpreter", BROKEN)
def test_a_runtime_that_does_not_load_there_is_not_kept(local, shelf, make_wheel, tmp_path, interpreter):
    said = BROKEN[interpreter]
    toy_wheels(make_wheel, shelf, interpreter)
    with pytest.raises(DeviceUnfitError, match="litert does not load there") as caught:
        prepare(local, inspect(local), runtime_of(toy()), Depot(local), cache=tmp_path / "wheels")
    assert said in str(caught.value)
    assert not list((Path(local.root()) / "site").iterdir())


@pytest.mark.parametrize("version", [b"7", b"''", b"'a\\x1b[2J'", b"['x']"])
def test_a_version_that_is_none_is_no_version(local, shelf, make_wheel, tmp_path, version):
    toy_wheels(make_wheel, shelf, version=version)
    depot, facts = Depot(local), inspect(local)
    if version == b"''":
        ready = prepare(local, facts, runtime_of(toy()), depot, cache=tmp_path / "wheels")
        assert ready.version == "unknown"
    else:
        with pytest.raises(DeviceUnfitError):
            prepare(local, facts, runtime_of(toy()), depot, cache=tmp_path / "wheels")


@pytest.mark.parametrize(
    ("says", "said"),
    [("echo 1.24.2", None), ("echo 2.1.0", "numpy 2.1.0"), ("exit 1", "no numpy"), ("echo", "numpy , ")],
)
def test_where_numpy_can_not_be_brought_the_device_s_own_has_to_do(local, shelf, tmp_path, says, said):
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    facts = dataclasses.replace(inspect(local), python=str(python))
    runtime = runtime_of(toy(requires=()))
    with pytest.raises((DeviceUnfitError, UsageError)) as caught:
        prepare(local, facts, runtime, Depot(local), cache=tmp_path / "wheels")
    if said is None:
        assert isinstance(caught.value, UsageError), "it went on to the wheels, which are not on the shelf"
    else:
        assert said in str(caught.value)
        assert "python3-numpy" in caught.value.hint
    assert written(local) == []


def test_a_link_that_dies_while_a_runtime_is_brought_leaves_no_half_of_it(shelf, make_wheel, tmp_path):
    toy_wheels(make_wheel, shelf)
    runtime = runtime_of(toy())
    for calls in range(2, 30, 3):
        with FakeTransport(Device.parse("fake://")) as transport:
            facts = inspect(transport)
            transport.faults = Faults(dies_after_calls=transport.calls + calls)
            depot, died = Depot(transport), False
            try:
                prepare(transport, facts, runtime, depot, cache=tmp_path / "wheels")
            except DeviceLostError:
                died = True
                transport.reopen()
            transport.faults = Faults()
            assert prepare(transport, facts, runtime, depot, cache=tmp_path / "wheels").version == "4.5"
        if not died:
            return
    pytest.fail("it never got through")


def test_the_program_is_one_file_and_always_the_same():
    first = python_program()
    content, made = first.read_bytes(), first.stat().st_mtime_ns
    assert python_program().stat().st_mtime_ns == made
    first.write_bytes(content[:-100])
    assert python_program().read_bytes() == content
