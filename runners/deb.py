"""Files out of a Debian archive: an `ar` of tars. Only what is named is taken, of the size that is named.

Nothing is written and no path of the archive is used, whatever it says.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAGIC = b"!<arch>\n"
_HEADER = 60
_SIZE = slice(48, 58)
_MAX_ENTRIES = 16
_MAX_UNPACKED = 64 << 20
_MAX_MEMORY = 256 << 20
_MAX_FILES = 10_000


def read_deb(archive: bytes, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Return the content of some plain files of a package.

    Args:
        archive: the whole package.
        wanted: the files' sizes in bytes by their path, without "./" in front.

    Raises:
        UsageError: it is no such archive, is too large, or lacks one of the files in that size.
    """
    try:
        found = dict(_files(_unpack(_data_of(archive)), wanted))
    except (lzma.LZMAError, tarfile.TarError, EOFError, ValueError) as error:
        raise UsageError(f"the package can't be unpacked: {error}", hint="download it again") from error
    lacking = sorted(set(wanted) - set(found))
    if lacking:
        raise UsageError(f"the package does not hold {lacking[0]} as a plain file of its size")
    return found


def _data_of(archive: bytes) -> bytes:
    """Return the member with the package's files."""
    if archive[:8] != _MAGIC:
        raise ValueError("it is no ar archive")
    at = len(_MAGIC)
    for _ in range(_MAX_ENTRIES):
        header = archive[at : at + _HEADER]
        if len(header) != _HEADER or header[58:] != b"`\n":
            break
        size = int(header[_SIZE].decode("ascii"))
        start = at + _HEADER
        if size < 0 or start + size > len(archive):
            break
        if header[:16].strip(b" /") == b"data.tar.xz":
            return archive[start : start + size]
        at = start + size + size % 2
    raise ValueError("it has no data.tar.xz")


def _unpack(packed: bytes) -> bytes:
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
    data = decompressor.decompress(packed, max_length=_MAX_UNPACKED)
    if not decompressor.eof:
        raise ValueError(f"it is cut short, or larger than {_MAX_UNPACKED >> 20} MiB")
    return data


def _files(data: bytes, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for count, member in enumerate(tar):
            if count >= _MAX_FILES:
                raise ValueError(f"it holds more than {_MAX_FILES} files")
            name = member.name.removeprefix("./")
            if not member.isreg() or wanted.get(name) != member.size:
                continue
            file = tar.extractfile(member)
            if file is not None:
                yield name, file.read(member.size)
