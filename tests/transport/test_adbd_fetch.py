"""Getting Android's own daemon from Debian: what it takes, and what is said where that is missing."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.testing import adbd, adbd_fetch


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(adbd_fetch, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert adbd.unavailable() == "a real adbd takes apt-get, dpkg, gcc to fetch"
    with pytest.raises(UsageError, match="apt-get, dpkg, gcc"):
        adbd.linux_board(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_phone_takes_root(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in adbd.unavailable(as_phone=True)
    with pytest.raises(UsageError, match="needs root"):
        adbd.phone(tmp_path)


def test_a_machine_without_debians_build(monkeypatch):
    monkeypatch.setattr(adbd_fetch.platform, "machine", lambda: "riscv64")
    assert adbd.unavailable() == "Debian's adbd is taken for x86_64 and aarch64 only"


def test_an_arm_phone_takes_qemu_and_a_kernel(monkeypatch, tmp_path):
    foreign = "aarch64" if platform.machine() == "x86_64" else "x86_64"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(adbd, "QEMU", tmp_path / "none")
    assert "qemu-user-static" in adbd.unavailable(as_phone=True, machine=foreign)
    monkeypatch.setattr(adbd, "QEMU", Path(__file__))
    monkeypatch.setattr(adbd.platform, "release", lambda: "6.6.1-generic")
    assert "Linux 6.7" in adbd.unavailable(as_phone=True, machine=foreign)


@pytest.mark.parametrize(
    ("listed", "mirror"),
    [
        (
            "http://security.example/debian-security/\nhttp://mirror.example/debian/\n",
            "http://mirror.example/debian/",
        ),
        ("http://archive.example/ubuntu/\n", ""),
        ("", ""),
    ],
)
def test_the_machines_own_mirror_is_taken(monkeypatch, tmp_path, listed, mirror):
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\nprintf '%s' '{listed}'\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    adbd_fetch._mirror.cache_clear()
    try:
        assert adbd_fetch._mirror() == mirror
    finally:
        adbd_fetch._mirror.cache_clear()


def test_a_download_that_fails_leaves_nothing(monkeypatch, tmp_path):
    reason = adbd.unavailable()
    if reason:
        pytest.skip(reason)
    monkeypatch.setattr(adbd_fetch, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(adbd_fetch, "_mirror", lambda: "http://127.0.0.1:9/debian")
    with pytest.raises(UsageError, match="can't be fetched: apt-get") as caught:
        adbd_fetch.fetch()
    assert caught.value.evidence
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_keeps_the_daemon_at_home_compiles_without_a_warning(tmp_path):
    if adbd_fetch.shutil.which("gcc") is None:
        pytest.skip("there is no gcc: apt install gcc")
    source = tmp_path / "loopback.c"
    source.write_text(adbd_fetch.LOOPBACK_SOURCE)
    argv = [
        "gcc",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        str(tmp_path / "out.so"),
        str(source),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
