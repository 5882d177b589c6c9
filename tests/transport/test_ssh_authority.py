"""Hosts that show a certificate: whom a real sshd's proves, and whom not."""

from __future__ import annotations

import base64
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import paramiko
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from edgekit.errors import DeviceRefusedError
from edgekit.runners.transport.ssh import SshTransport
from edgekit.runners.transport.ssh_authority import certificate_types, flaw, read_certificate
from edgekit.targets import Device
from edgekit.testing.ssh_files import make_key
from edgekit.testing.sshd import Sshd, sshd_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not sshd_program(), reason="sshd is not installed")
SHA_1 = hashes.SHA1()  # noqa: S303  what must not count
HERE = ("-h", "-n", "127.0.0.1")


class Certified:
    """A real sshd with a certificate, whose own key its client does not know."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.known = server.files.known_hosts
        self.plain = self.known.read_text()
        self.public = server.files.host_key.with_suffix(".pub")

    def authority(self, name: str = "authority", kind: str = "ed25519") -> Path:
        path = self.folder / name
        if kind == "ed25519":
            make_key(path)
        else:
            command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    def certify(self, authority: Path, *words: str) -> bytes:
        """Sign the server's key anew, let it show that; return the certificate."""
        command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "it", *words, str(self.public)]
        subprocess.run(command, check=True)
        self.server.cut()
        self.server.restart()
        return base64.b64decode(self.public.with_name("host_ed25519-cert.pub").read_text().split()[1])

    def trust(self, authority: Path, marker: str = "@cert-authority", *, more: str = "") -> None:
        key = authority.with_name(f"{authority.name}.pub").read_text()
        self.known.write_text(f"{more}{marker} * {key}")

    def open(self) -> str:
        """Reach it; return what a command says there."""
        files = self.server.files
        transport = SshTransport(Device.parse(files.address), config=files.config)
        transport.open()
        try:
            return transport.check(["echo", "in"]).text
        finally:
            transport.close()

    def refusal(self) -> str:
        with pytest.raises(DeviceRefusedError) as caught:
            self.open()
        assert str(caught.value).startswith(f"{self.server.files.address}: ")
        return str(caught.value)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Certified]:
    with Sshd() as server:
        config = server.files.folder / "sshd_config"
        line = f'HostCertificate "{server.files.host_key}-cert.pub"\n'
        config.write_text(line + config.read_text())
        yield Certified(server, tmp_path)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_host_is_known_by_its_authority(host: Certified, kind: str) -> None:
    authority = host.authority(kind=kind)
    host.trust(authority)
    host.certify(authority, *HERE, "-V", "-5m:+1h")
    before = host.known.read_text()
    assert host.open() == "in\n"
    assert host.known.read_text() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*HERE, "-V", "20200101:20210101"), "it held until 20"),
        ((*HERE, "-V", "+1h:+2h"), "it holds from 20"),
        (("-h", "-n", "other,*.field"), r"it is for other, \*\.field, and not for 127.0.0.1"),
        (("-h",), "it is for no name"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused(
    host: Certified, words: tuple[str, ...], said: str
) -> None:
    authority = host.authority()
    host.trust(authority)
    host.certify(authority, *words)
    text = host.refusal()
    assert "host certificate of [127.0.0.1]" in text
    assert re.search(said, text), text


def test_another_authority_proves_nothing(host: Certified) -> None:
    host.trust(host.authority())
    host.certify(host.authority("stranger"), *HERE)
    assert "without a certificate of the authority of" in host.refusal()
    host.trust(host.folder / "authority", more=host.plain)
    assert host.open() == "in\n"  # its key itself is known


def test_a_revoked_authority_is_refused(host: Certified) -> None:
    authority = host.authority()
    host.certify(authority, *HERE)
    host.trust(authority)
    trusted = host.known.read_text()
    host.trust(authority, "@revoked", more=trusted)
    assert "revokes its authority" in host.refusal()


def test_what_a_certificate_must_not_be(host: Certified) -> None:
    authority = host.authority()
    blob = host.certify(authority, *HERE, "-V", "-5m:+1h")
    read = read_certificate(blob)
    assert flaw(read, "[127.0.0.1]:2222") == flaw(read, "127.0.0.1") == ""
    assert flaw(replace(read, principals=("127.*",)), "127.0.0.1") == ""
    assert flaw(replace(read, kind=1), "127.0.0.1") == "it is not a host's"
    assert "force-it" in flaw(replace(read, critical=("force-it",)), "127.0.0.1")
    assert flaw(replace(read, signed=read.signed[:-1] + b"x"), "127.0.0.1") == "its signature is wrong"
    assert flaw(replace(read, authority=b"\0\0\0\3odd"), "127.0.0.1") == "its signature is wrong"
    assert flaw(read, "127.0.0.1", now=2.0**40).startswith("it held until")
    with pytest.raises(ValueError, match="is no certificate"):
        read_certificate(b"\0\0\0\3odd")


def test_names_of_certificates() -> None:
    known = "ssh-ed25519-cert-v01@openssh.com"
    assert certificate_types(("ssh-ed25519", known)) == (known,)


@pytest.mark.parametrize(
    ("algorithm", "digest", "said"),
    [
        ("rsa-sha2-256", hashes.SHA256(), ""),
        ("rsa-sha2-512", hashes.SHA512(), ""),
        ("ssh-rsa", SHA_1, "its signature is wrong"),
        ("ssh-rsa-cert-v01@openssh.com", SHA_1, "its signature is wrong"),
    ],
)
def test_an_authority_does_not_sign_by_sha_1_by_whatever_name(
    host: Certified, algorithm: str, digest: hashes.HashAlgorithm, said: str
) -> None:
    read = read_certificate(host.certify(host.authority(), *HERE, "-V", "-5m:+1h"))
    key = paramiko.RSAKey.generate(2048)
    signature = paramiko.Message()
    signature.add_string(algorithm)
    signature.add_string(key.key.sign(read.signed, padding.PKCS1v15(), digest))
    signed = replace(read, authority=key.asbytes(), signature=signature.asbytes())
    assert flaw(signed, "127.0.0.1") == said
