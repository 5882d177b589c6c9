"""Fetching the glibc: from apt or a folder, held to the lock, kept; one that differs is used nowhere."""

import dataclasses
import hashlib
import io
import lzma
import os
import tarfile

import pytest

from edgekit.errors import UsageError
from edgekit.runners import glibc
from edgekit.runners.lock import Package, Part, own_lock


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_deb(files):
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = lzma.compress(tarred.getvalue())
    data += b"\0" * (len(data) % 2)
    header = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}".encode() + b"`\n"
    return b"!<arch>\n" + header + data


LOADER, LIBC = b"a loader", b"a libc of some size"
DEB = make_deb({"usr/lib/ld.so": LOADER, "usr/lib/libc.so.6": LIBC})


@pytest.fixture
def lock():
    """A lock whose glibc is one small package."""
    parts = [("ld-linux-aarch64.so.1", "ld.so", LOADER), ("libc.so.6", "libc.so.6", LIBC)]
    return dataclasses.replace(
        own_lock(),
        packages=(Package(name="toy-cross", version="1.0-1", bytes=len(DEB), sha256=sha(DEB)),),
        parts=tuple(
            Part(
                name=name, package="toy-cross", member=f"usr/lib/{member}", bytes=len(data), sha256=sha(data)
            )
            for name, member, data in parts
        ),
    )


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt-get that says what it was asked, and brings what lies in a folder."""
    folder, served = tmp_path / "bin", tmp_path / "served"
    folder.mkdir()
    served.mkdir()
    program = folder / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
        f"ls {served}/*.deb >/dev/null 2>&1 || "
        '{ echo "W: odd" >&2; echo "E: Version not found" >&2; exit 100; }\n'
        f"cp {served}/*.deb .\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return served


def asked(tmp_path):
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_what_was_fetched_once_is_asked_for_no_more(apt, lock, tmp_path):
    (apt / "toy-cross_1.0-1_all.deb").write_bytes(DEB)
    cache = tmp_path / "cache" / "wheels"
    assert glibc.kept(cache, lock) == ()
    found = glibc.fetch(cache, lock)
    assert [path.name for path in found] == [part.name for part in lock.parts]
    assert [path.read_bytes() for path in found] == [LOADER, LIBC]
    assert glibc.fetch(cache, lock) == found == glibc.kept(cache, lock)
    assert asked(tmp_path) == ["--quiet download toy-cross=1.0-1"]
    assert sorted(path.name for path in glibc.place(cache, lock).iterdir()) == [
        "ld-linux-aarch64.so.1",
        "libc.so.6",
    ]


def test_a_kept_part_that_was_changed_is_fetched_again(apt, lock, tmp_path):
    (apt / "toy-cross_1.0-1_all.deb").write_bytes(DEB)
    cache = tmp_path / "cache" / "wheels"
    glibc.fetch(cache, lock)[1].write_bytes(b"a changed libc here")
    assert glibc.kept(cache, lock) == ()
    assert glibc.fetch(cache, lock)[1].read_bytes() == LIBC
    assert len(asked(tmp_path)) == 2


def test_a_package_of_the_same_size_that_differs_is_used_nowhere(apt, lock, tmp_path):
    other = DEB[:-1] + bytes([DEB[-1] ^ 1])
    (apt / "toy-cross_1.0-1_all.deb").write_bytes(other)
    with pytest.raises(UsageError, match=r"the package toy-cross has the sha256 .* nothing of it was used"):
        glibc.fetch(tmp_path / "cache" / "wheels", lock)
    assert not (tmp_path / "cache").exists()


def test_a_part_that_differs_is_used_nowhere(apt, lock, tmp_path):
    (apt / "toy-cross_1.0-1_all.deb").write_bytes(DEB)
    parts = (lock.parts[0], dataclasses.replace(lock.parts[1], sha256="0" * 64))
    with pytest.raises(UsageError, match=r"libc\.so\.6 has the sha256"):
        glibc.fetch(tmp_path / "cache" / "wheels", dataclasses.replace(lock, parts=parts))
    assert not (tmp_path / "cache").exists()


def test_another_size_is_another_version(apt, lock, tmp_path):
    (apt / "toy-cross_1.0-2_all.deb").write_bytes(DEB + b"more")
    with pytest.raises(UsageError, match=r"apt brought another toy-cross than 1\.0-1: run `edgekit runtimes"):
        glibc.fetch(tmp_path / "cache" / "wheels", lock)


@pytest.mark.usefixtures("apt")
def test_what_apt_has_not_is_said_in_apt_s_words_with_the_next_step(lock, tmp_path):
    with pytest.raises(
        UsageError, match=r"apt can't download toy-cross=1\.0-1: Version not found: run `apt-get update` "
    ) as caught:
        glibc.fetch(tmp_path / "cache" / "wheels", lock)
    assert "--from" in caught.value.hint
    assert "EDGEKIT_GLIBC" in caught.value.hint


def test_an_apt_that_hangs_is_given_up(lock, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(glibc, "_TIMEOUT_S", 0.2)
    with pytest.raises(UsageError, match=r"did not download toy-cross=1\.0-1 within 0\.2 s"):
        glibc.fetch(tmp_path / "cache" / "wheels", lock)


def test_a_folder_does_instead_of_a_network(lock, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    stick = tmp_path / "stick"
    stick.mkdir()
    with pytest.raises(UsageError, match=r"stick has no toy-cross 1\.0-1 of \d+ bytes"):
        glibc.fetch(tmp_path / "cache" / "wheels", lock, source=stick)
    (stick / "toy-cross_1.0-1_all.deb").write_bytes(DEB)
    assert len(glibc.fetch(tmp_path / "cache" / "wheels", lock, source=stick)) == 2


def test_a_cache_that_can_not_be_written_is_said(apt, lock, tmp_path):
    (apt / "toy-cross_1.0-1_all.deb").write_bytes(DEB)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UsageError, match=r"can't be written: .*: free some space"):
        glibc.fetch(tmp_path / "cache" / "wheels", lock)
