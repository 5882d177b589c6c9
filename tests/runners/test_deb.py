"""Files out of Debian archives, made here whole, broken and hostile."""

import io
import lzma
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runners import deb
from edgekit.runners.deb import read_deb

PLAIN = {"usr/lib/libc.so.6": b"the libc", "usr/lib/ld.so": b"the loader", "usr/share/doc": b"words"}
WANTED = {"usr/lib/libc.so.6": 8, "usr/lib/ld.so": 10}


def tar_of(files, **changes):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return data.getvalue()


def ar_of(*members):
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}".encode() + b"`\n" + content
        )
        parts.append(b"\n" * (len(content) % 2))
    return b"".join(parts)


def package(data):
    return ar_of(("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data))


WHOLE = package(lzma.compress(tar_of(PLAIN)))


def test_only_what_is_named_is_taken():
    assert read_deb(WHOLE, WANTED) == {name: PLAIN[name] for name in WANTED}
    assert read_deb(WHOLE, {}) == {}


def test_names_with_the_older_ar_s_slash_are_the_same():
    old = ar_of(("debian-binary/", b"2.0\n"), ("data.tar.xz/", lzma.compress(tar_of(PLAIN))))
    assert read_deb(old, WANTED).keys() == WANTED.keys()


@pytest.mark.parametrize(
    "wanted", [{"usr/lib/libm.so.6": 8}, {"usr/lib/ld.so": 11}, {"./usr/lib/ld.so": 10}, {"lib/ld.so": 10}]
)
def test_what_is_not_there_in_that_size_is_refused(wanted):
    with pytest.raises(UsageError, match="does not hold"):
        read_deb(WHOLE, wanted)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_link_in_a_file_s_place_is_no_file(kind):
    data = package(lzma.compress(tar_of({"usr/lib/ld.so": b""}, type=kind, linkname="/etc/passwd")))
    with pytest.raises(UsageError, match="does not hold"):
        read_deb(data, {"usr/lib/ld.so": 0})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no ar archive"),
        (b"PK\3\4" + WHOLE, "no ar archive"),
        (b"!<arch>\n", "no data.tar.xz"),
        (ar_of(("data.tar.zst", b"other")), "no data.tar.xz"),
        (WHOLE[:-9], "no data.tar.xz"),
        (ar_of(*[("x", b"")] * 16, ("data.tar.xz", lzma.compress(tar_of(PLAIN)))), "no data.tar.xz"),
        (package(b"not packed"), "can't be unpacked"),
        (package(lzma.compress(tar_of(PLAIN))[:-20]), "cut short"),
        (package(lzma.compress(b"no tar" * 300)), "can't be unpacked"),
        (WHOLE.replace(b"100644", b"10064\xff"), None),
    ],
)
def test_what_is_no_package_is_refused(data, said):
    if said is None:
        assert read_deb(data, WANTED)
        return
    with pytest.raises(UsageError, match=said):
        read_deb(data, WANTED)


def test_a_size_that_is_no_number_is_refused():
    header = WHOLE.index(b"data.tar.xz")
    at = header + 48
    with pytest.raises(UsageError, match="can't be unpacked"):
        read_deb(WHOLE[:at] + b"-1        " + WHOLE[at + 10 :], WANTED)
    with pytest.raises(UsageError, match="can't be unpacked"):
        read_deb(WHOLE[:at] + b"\xff\xff        " + WHOLE[at + 10 :], WANTED)


def test_what_unpacks_to_too_much_is_given_up(monkeypatch):
    monkeypatch.setattr(deb, "_MAX_UNPACKED", 1 << 20)
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_deb(package(lzma.compress(bytes(2 << 20))), WANTED)
    monkeypatch.setattr(deb, "_MAX_FILES", 2)
    with pytest.raises(UsageError, match="more than 2 files"):
        read_deb(WHOLE, WANTED)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_package_is_refused_or_read_and_nothing_else(data):
    broken = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for _ in range(data.draw(st.integers(0, 8)) if broken else 0):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_deb(bytes(broken), WANTED)
    except UsageError:
        return
    assert {name: len(content) for name, content in found.items()} == WANTED
