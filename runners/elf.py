"""What a shared library needs of a device, read from the library itself.

A wheel's tag says which glibc its maker promised; the loader goes by the library's version needs
(`DT_VERNEED`), and the two differ: some wheels are tagged lower than they load. So the needs are read
here, from the same tables that the device's loader reads. Source: the System V ABI, chapter 5, and the
LSB's "symbol versioning".
"""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MACHINES = {62: "x86_64", 183: "aarch64", 40: "armv7l", 3: "i686", 243: "riscv64"}
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_VERNEED, _DT_VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF
_MAX_HEADERS, _MAX_DYNAMIC, _MAX_VERSIONS, _MAX_NAME = 256, 4096, 1024, 512
_MAX_LIBRARY_BYTES = 1 << 30
_VERSION = re.compile(r"(GLIBC|GLIBCXX)_([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?")
BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)
"""What zipfile raises for an archive that is none, is damaged, or is packed in no way that it knows."""
_SHARED = re.compile(r"\.so(\.\d+)*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What libraries need of a device.

    Attributes:
        machine: uname's word for the processor, or "".
        libraries: names of the shared libraries they link to, sorted.
        glibc: the lowest version that has every symbol; (0, 0) when none is asked for.
        glibcxx: the last number of GLIBCXX_3.4.N, which is also libstdc++.so.6.0.N; 0 for none.
        page_bytes: the largest page of memory that their segments can be mapped in; 0 when they ask for none.
    """

    machine: str
    libraries: tuple[str, ...]
    glibc: tuple[int, int]
    glibcxx: int
    page_bytes: int = 0


class _Reader:
    """Bounded reads from one ELF image; whatever lies outside of it is a UsageError."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF" or len(data) < 64 or data[4] not in (1, 2) or data[5] != 1:  # noqa: PLR2004
            raise UsageError("not a little-endian ELF file")
        self.data = data
        self.wide = data[4] == 2  # noqa: PLR2004
        self.machine = self.take("<H", 18)[0]

    def take(self, form: str, offset: int) -> tuple[int, ...]:
        """Return the numbers of this form at this offset."""
        if offset < 0 or offset + struct.calcsize(form) > len(self.data):
            raise UsageError("an ELF table lies outside of its file")
        return struct.unpack_from(form, self.data, offset)

    def name(self, offset: int) -> str:
        """Return the zero-ended name at this offset."""
        end = self.data.find(b"\0", offset, offset + _MAX_NAME)
        if offset < 0 or end < 0:
            raise UsageError("an ELF name has no end")
        return self.data[offset:end].decode("ascii", "replace")

    def segments(self) -> list[tuple[int, int, int, int]]:
        """Return (type, offset, address, size in the file) of every segment."""
        (start,) = self.take("<Q", 32) if self.wide else self.take("<I", 28)
        size, count = self.take("<HH", 54 if self.wide else 42)
        found = []
        for number in range(min(count, _MAX_HEADERS)):
            at = start + number * size
            if self.wide:
                kind, _, offset, address, _, length = self.take("<IIQQQQ", at)
            else:
                kind, offset, address, _, length = self.take("<IIIII", at)
            found.append((kind, offset, address, length))
        return found

    def page_bytes(self) -> int:
        """Return the smallest alignment of the segments that are loaded, 0 where none is asked for."""
        (start,) = self.take("<Q", 32) if self.wide else self.take("<I", 28)
        size, count = self.take("<HH", 54 if self.wide else 42)
        heads = [start + number * size for number in range(min(count, _MAX_HEADERS))]
        form, last = ("<Q", 48) if self.wide else ("<I", 28)
        loaded = [at for at in heads if self.take("<I", at)[0] == _PT_LOAD]
        return min((self.take(form, at + last)[0] for at in loaded), default=0)

    def dynamic(self) -> tuple[dict[int, int], list[int]]:
        """Return the dynamic section's values by tag, and the name offsets of the needed libraries."""
        values: dict[int, int] = {}
        needed: list[int] = []
        form, width = ("<qQ", 16) if self.wide else ("<iI", 8)
        for kind, offset, _, length in self.segments():
            if kind != _PT_DYNAMIC:
                continue
            for at in range(offset, offset + min(length, _MAX_DYNAMIC * width), width):
                tag, value = self.take(form, at)
                if tag == 0:
                    break
                needed += [value] if tag == _DT_NEEDED else []
                values[tag & 0xFFFFFFFF] = value
        return values, needed

    def offset_of(self, address: int) -> int:
        """Return where in the file a loaded address lies."""
        for kind, offset, start, length in self.segments():
            if kind == _PT_LOAD and start <= address < start + length:
                return address - start + offset
        raise UsageError("an ELF address lies in no segment")


def read_needs(data: bytes) -> Needs:
    """Return what one shared library needs.

    Args:
        data: the whole file.

    Raises:
        UsageError: it is no little-endian ELF file, or its tables are broken.
    """
    reader = _Reader(data)
    values, needed = reader.dynamic()
    machine = _MACHINES.get(reader.machine, "")
    page = reader.page_bytes()
    if _DT_STRTAB not in values:
        return Needs(machine=machine, libraries=(), glibc=(0, 0), glibcxx=0, page_bytes=page)
    strings = reader.offset_of(values[_DT_STRTAB])
    libraries = tuple(sorted(reader.name(strings + at) for at in needed[:_MAX_VERSIONS]))
    glibc, glibcxx = (0, 0), 0
    for version in _versions(reader, values, strings):
        match = _VERSION.fullmatch(version)
        if match and match[1] == "GLIBC":
            glibc = max(glibc, (int(match[2]), int(match[3])))
        elif match:
            glibcxx = max(glibcxx, int(match[4] or 0))
    return Needs(machine=machine, libraries=libraries, glibc=glibc, glibcxx=glibcxx, page_bytes=page)


def wheel_needs(path: Path) -> Needs:
    """Return what all shared libraries of a wheel need together, of one another left out.

    Raises:
        UsageError: the file is no wheel, or one of its libraries is broken or of another machine.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            inside = [info for info in wheel.infolist() if _SHARED.search(info.filename)]
            if any(info.file_size > _MAX_LIBRARY_BYTES for info in inside):
                raise UsageError(f"{path.name} holds a library of more than {_MAX_LIBRARY_BYTES} bytes")
            found = [read_needs(wheel.read(info)) for info in inside]
    except BROKEN_ARCHIVE as error:
        raise UsageError(f"{path.name} is no wheel: {error}", hint="download it again") from error
    return _together(path.name, found, {info.filename.rpartition("/")[2] for info in inside})


def _together(name: str, found: list[Needs], own: set[str]) -> Needs:
    machines = {needs.machine for needs in found}
    if len(machines) > 1:
        raise UsageError(f"{name} holds libraries of several machines: {', '.join(sorted(machines))}")
    return Needs(
        machine=next(iter(machines), ""),
        libraries=tuple(sorted({lib for needs in found for lib in needs.libraries} - own)),
        glibc=max((needs.glibc for needs in found), default=(0, 0)),
        glibcxx=max((needs.glibcxx for needs in found), default=0),
        page_bytes=min((needs.page_bytes for needs in found if needs.page_bytes), default=0),
    )


def _versions(reader: _Reader, values: dict[int, int], strings: int) -> Iterator[str]:
    """Yield the name of every symbol version that the library needs."""
    if _DT_VERNEED not in values:
        return
    at = reader.offset_of(values[_DT_VERNEED])
    for _ in range(min(values.get(_DT_VERNEEDNUM, 0), _MAX_VERSIONS)):
        _, count, _, inner, following = reader.take("<HHIII", at)
        inner += at
        for _ in range(min(count, _MAX_VERSIONS)):
            _, _, _, name, step = reader.take("<IHHII", inner)
            yield reader.name(strings + name)
            if step == 0:
                break
            inner += step
        if following == 0:
            break
        at += following
