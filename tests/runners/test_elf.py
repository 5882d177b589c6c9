"""What libraries need, read from real libraries and from broken ones."""

import importlib.util
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runners.elf import read_needs, wheel_needs

PLACES = [Path(sysconfig.get_path("platlib")), Path("/usr/lib"), Path("/lib")]


def real_libraries():
    """Return a few libraries of this machine that need glibc."""
    spec = importlib.util.find_spec("numpy")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
    return sorted(folder.glob("_core/*.so"))[:4] or pytest.skip("no library to read here")


def by_readelf(path):
    """Return glibc, N of GLIBCXX_3.4.N and libraries by binutils."""
    told = subprocess.run(
        ["readelf", "-V", "-d", str(path)], capture_output=True, text=True, check=True
    ).stdout
    needs = told.partition("Version needs section")[2]
    glibc = [(int(a), int(b)) for a, b in re.findall(r"Name: GLIBC_(\d+)\.(\d+)", needs)]
    glibcxx = [int(n or 0) for n in re.findall(r"Name: GLIBCXX_3\.4(?:\.(\d+))?", needs)]
    libraries = re.findall(r"Shared library: \[(.*?)\]", told)
    return max(glibc, default=(0, 0)), max(glibcxx, default=0), sorted(libraries)


def test_needs_are_what_binutils_reads():
    if shutil.which("readelf") is None:
        pytest.skip("no readelf here (apt install binutils)")
    for path in real_libraries():
        needs = read_needs(path.read_bytes())
        assert (needs.glibc, needs.glibcxx, list(needs.libraries)) == by_readelf(path)


def test_a_real_library_tells_machine_and_libc():
    needs = read_needs(real_libraries()[0].read_bytes())
    assert needs.machine == sysconfig.get_platform().rpartition("-")[2]
    assert needs.glibc >= (2, 2)
    assert any(name.startswith("libc.so") for name in needs.libraries)


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"MZ" + bytes(200), b"\x7fELF\x02\x02" + bytes(200), bytes(64)]
)
def test_what_is_no_library_is_refused(data):
    with pytest.raises(UsageError):
        read_needs(data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_broken_library_is_refused_or_read_and_nothing_else(data):
    whole = real_libraries()[0].read_bytes()
    broken = bytearray(whole[: data.draw(st.integers(64, len(whole)))])
    for _ in range(data.draw(st.integers(0, 30))):
        broken[data.draw(st.integers(6, min(len(broken), 4096) - 1))] = data.draw(st.integers(0, 255))
    try:
        needs = read_needs(bytes(broken))
    except UsageError:
        return
    assert needs.glibc >= (0, 0)


def test_a_wheel_needs_what_all_its_libraries_need(make_wheel):
    libraries = real_libraries()
    files = [(f"toy/{path.name}", path.read_bytes()) for path in libraries]
    together = wheel_needs(make_wheel(files=files))
    each = [read_needs(path.read_bytes()) for path in libraries]
    assert together.glibc == max(needs.glibc for needs in each)
    assert together.glibcxx == max(needs.glibcxx for needs in each)
    assert not set(together.libraries) & {path.name for path in libraries}


def test_a_wheel_without_libraries_needs_nothing(make_wheel):
    needs = wheel_needs(make_wheel())
    assert (needs.machine, needs.glibc, needs.libraries) == ("", (0, 0), ())


def test_a_wheel_of_two_machines_is_refused(make_wheel):
    library = real_libraries()[0].read_bytes()
    other = library[:18] + (183 if library[18] != 183 else 62).to_bytes(2, "little") + library[20:]
    with pytest.raises(UsageError, match="several machines"):
        wheel_needs(make_wheel(files=[("a.so", library), ("b.so", other)]))


def test_a_truncated_wheel_is_refused(make_wheel):
    path = make_wheel()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match="is no wheel"):
        wheel_needs(path)
