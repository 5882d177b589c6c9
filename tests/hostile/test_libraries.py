"""Libraries and wheels that others built: their tables are data, whatever they say."""

import io
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runners import elf
from edgekit.runners.elf import read_needs, wheel_needs
from edgekit.testing.hostile import TOKENS, fuzzed, spoilt, understood_or_refused


def library(*, wide=True, step=16, following=0, count=1, entries=1, name=b"GLIBC_2.17", dynamic=None):
    """A small shared library: headers, a dynamic section, one version need, and strings."""
    strings = b"\0libc.so.6\0" + name + b"\0"
    head, place, at = (64, 56, 512) if wide else (52, 32, 512)
    needs = struct.pack("<HHIII", 1, count, 1, 16, following) + struct.pack("<IHHII", 0, 0, 2, 11, step)
    tags = [(1, 1), (5, at + 256), (0x6FFFFFFE, at + 128), (0x6FFFFFFF, entries), (0, 0)]
    table = b"".join(struct.pack("<qQ" if wide else "<iI", *tag) for tag in dynamic or tags)
    segments = [(1, 0, 0, 1024), (2, at, at, len(table))]
    data = bytearray(1024)
    data[:20] = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9) + struct.pack("<HH", 3, 183)
    struct.pack_into("<Q" if wide else "<I", data, 32 if wide else 28, head)
    struct.pack_into("<HH", data, 54 if wide else 42, place, len(segments))
    for number, (kind, offset, address, size) in enumerate(segments):
        values = (kind, 5, offset, address, address, size, size, 4096)
        order = values if wide else (kind, offset, address, address, size, size, 5, 4096)
        struct.pack_into("<IIQQQQQQ" if wide else "<8I", data, head + number * place, *order)
    data[at : at + len(table)] = table
    data[at + 128 : at + 128 + len(needs)] = needs
    data[at + 256 : at + 256 + len(strings)] = strings
    return bytes(data)


def wheel(*files, kind=zipfile.ZIP_DEFLATED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return made.getvalue()


WHEELS = [
    wheel(("a/libx.so", library()), ("a/__init__.py", b"")),
    wheel(("a/libx.so.1.2", library(wide=False)), kind=zipfile.ZIP_STORED),
    wheel(("libx.so", library()), kind=zipfile.ZIP_LZMA),
]


@pytest.mark.parametrize("wide", [True, False])
def test_the_libraries_that_are_spoilt_below_are_good_ones(wide, tmp_path):
    needs = read_needs(library(wide=wide))
    assert (needs.libraries, needs.glibc, needs.machine) == (("libc.so.6",), (2, 17), "aarch64")
    for number, content in enumerate(WHEELS):
        (tmp_path / f"{number}.whl").write_bytes(content)
        assert wheel_needs(tmp_path / f"{number}.whl").glibc == (2, 17)


@pytest.mark.parametrize("wide", [True, False])
@fuzzed(st.data(), examples=150)
def test_a_library_is_understood_or_refused(wide, data):
    content = bytearray(library(wide=wide))
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.sampled_from([*range(64), *range(64, 176, 4), *range(512, 800, 4)]))
        content[start : start + 4] = data.draw(
            st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff" * 8])
        )
    needs = understood_or_refused(read_needs, bytes(content))
    if needs is not None:
        assert all(len(name) <= 512 for name in needs.libraries)


@fuzzed(spoilt([library(), library(wide=False)]) | st.binary(max_size=200))
def test_a_librarys_bytes_are_understood_or_refused(content):
    understood_or_refused(read_needs, content)


@fuzzed(spoilt(WHEELS), examples=150)
def test_a_wheel_is_understood_or_refused(tmp_path, content):
    path = tmp_path / "a.whl"
    path.write_bytes(content)
    understood_or_refused(wheel_needs, path)


@fuzzed(st.sampled_from(WHEELS), st.data(), examples=200)
def test_a_wheels_headers_are_understood_or_refused(tmp_path, content, data):
    """The fields of its headers: method, flags, sizes, offsets."""
    changed = bytearray(content)
    starts = [at for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") if (at := content.find(mark)) >= 0]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(starts)) + data.draw(st.integers(4, 45))
        changed[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    path = tmp_path / "a.whl"
    path.write_bytes(bytes(changed))
    understood_or_refused(wheel_needs, path)


def steps_of(call, *args):
    """How many lines of the reader of libraries a call runs."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace

    def only_ours(frame, event, arg):
        return trace if frame.f_code.co_filename == elf.__file__ else None

    before = sys.gettrace()
    sys.settrace(only_ours)
    try:
        understood_or_refused(call, *args)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 0, "count": 0xFFFF}, {"following": 0, "entries": 0xFFFF, "count": 0xFFFF, "step": 0},
        {"dynamic": [(1, 1)] * 30}, {"following": 1 << 31, "entries": 9}, {"step": 1 << 31, "count": 9},
    ],
    ids=str,
)  # fmt: skip
def test_a_library_that_leads_in_a_circle_is_read_once(changes):
    assert steps_of(read_needs, library(**changes)) < 5000


@pytest.mark.parametrize("name", [b"GLIBC_" + b"9" * 400 + b".1", b"GLIBC_2." + b"9" * 5000, b"x" * 600])
def test_versions_that_are_none_are_left_out_or_refused(name):
    needs = understood_or_refused(read_needs, library(name=name[:240]))
    assert needs is None or needs.glibc == (0, 0)


@pytest.mark.parametrize("token", [token for token in TOKENS if token])
def test_a_wheel_that_is_none_is_refused(tmp_path, token):
    path = tmp_path / "a.whl"
    path.write_bytes(token)
    with pytest.raises(UsageError):
        wheel_needs(path)


def test_a_wheel_that_holds_too_much_is_refused_before_it_is_read(tmp_path):
    """Its directory says so; nothing is unpacked to find out."""
    content = bytearray(wheel(("a.so", b"\0" * 100)))
    at = content.find(b"PK\1\2")
    struct.pack_into("<I", content, at + 24, 0xF0000000)
    path = tmp_path / "a.whl"
    path.write_bytes(bytes(content))
    with pytest.raises(UsageError, match="more than"):
        wheel_needs(path)


def test_a_wheel_that_says_less_than_it_holds_is_refused(tmp_path):
    """100 MB of zeros that call themselves 100 bytes."""
    content = bytearray(wheel(("a.so", b"\0" * 100_000_000)))
    for mark, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        struct.pack_into("<I", content, content.find(mark) + offset, 100)
    path = tmp_path / "a.whl"
    path.write_bytes(bytes(content))
    assert understood_or_refused(wheel_needs, path) is None


def test_no_file_is_no_wheel(tmp_path):
    for path in (tmp_path, tmp_path / "none.whl", Path("/dev/null")):
        with pytest.raises(UsageError):
            wheel_needs(path)
