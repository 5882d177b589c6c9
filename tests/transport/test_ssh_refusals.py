"""Who is refused, by whom, and what is said: hosts that prove nothing, users that are not let in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import DeviceRefusedError
from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing.ssh_double import SshDouble, SshFaults
from edgekit.testing.ssh_files import make_key
from edgekit.testing.sshd import Sshd, sshd_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def double() -> Iterator[SshDouble]:
    with SshDouble() as double:
        yield double


def opened(double: SshDouble) -> SshTransport:
    transport = SshTransport(Device.parse(double.files.address), config=double.files.config)
    transport.open()
    return transport


def refusal(double: SshDouble) -> DeviceRefusedError:
    before = double.files.known_hosts.read_bytes()
    with pytest.raises(DeviceRefusedError) as caught:
        opened(double)
    assert str(caught.value).startswith(f"{double.files.address}: ")
    assert double.files.known_hosts.read_bytes() == before  # no host gets known by our doing
    return caught.value


def add_line(double: SshDouble, line: str) -> None:
    config = double.files.config
    config.write_text(config.read_text() + f"    {line}\n")


def host_blob(double: SshDouble) -> str:
    return double.files.host_key.with_suffix(".pub").read_text().split()[1]


def print_of(public: Path) -> str:
    return subprocess.run(
        ["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True
    ).stdout.split()[1]


# --- the host --------------------------------------------------------------------------------------
def test_an_unknown_host_is_refused_with_its_fingerprint(double: SshDouble) -> None:
    double.files.known_hosts.write_text("# empty\n")
    error = refusal(double)
    assert "is not known: ssh-ed25519 " in error.what
    assert print_of(double.files.host_key.with_suffix(".pub")) in error.what
    assert f"ssh-keyscan -p {double.files.port} 127.0.0.1" in error.hint


def test_a_changed_host_has_a_message_of_its_own(double: SshDouble) -> None:
    double.faults = SshFaults(other_key=True)
    error = refusal(double)
    assert "has changed" in error.what
    assert f"{double.files.known_hosts}:1" in error.what
    assert f"ssh-keygen -R '[127.0.0.1]:{double.files.port}'" in error.hint


def test_a_changed_host_is_refused_even_without_checking(double: SshDouble) -> None:
    double.faults = SshFaults(other_key=True)
    add_line(double, "StrictHostKeyChecking no")
    assert "has changed" in refusal(double).what


def test_checking_can_be_turned_off_for_unknown_hosts(double: SshDouble) -> None:
    add_line(double, "StrictHostKeyChecking no")
    double.files.known_hosts.write_text("")
    opened(double).close()
    assert double.files.known_hosts.read_text() == ""


def test_a_new_host_is_remembered_where_that_was_asked_for(double: SshDouble) -> None:
    add_line(double, "StrictHostKeyChecking accept-new")
    hosts = double.files.known_hosts
    hosts.write_text("other ssh-ed25519 AAAA")  # a last line without its end
    opened(double).close()
    known = hosts.read_text()
    line = f"[127.0.0.1]:{double.files.port} ssh-ed25519 {host_blob(double)}"
    assert known == f"other ssh-ed25519 AAAA\n{line}\n"
    opened(double).close()
    assert hosts.read_text() == known
    double.faults = SshFaults(other_key=True)
    assert "has changed" in refusal(double).what
    double.faults = SshFaults()
    hosts.unlink()
    opened(double).close()
    assert hosts.read_text() == f"{line}\n"
    assert hosts.stat().st_mode & 0o777 == 0o600


def test_where_a_new_host_cannot_be_remembered_it_is_refused(double: SshDouble) -> None:
    add_line(double, "StrictHostKeyChecking accept-new")
    double.files.known_hosts.unlink()
    double.files.known_hosts.mkdir()
    with pytest.raises(DeviceRefusedError, match=r"can't be added to .*known_hosts") as caught:
        opened(double)
    assert "ssh to it once" in caught.value.hint


@pytest.mark.skipif(not sshd_program(), reason="sshd is not installed")
def test_a_certificate_opens_where_the_key_alone_does_not(tmp_path: Path) -> None:
    authority = tmp_path / "authority"
    make_key(authority)
    trust = f'TrustedUserCAKeys "{authority}.pub"'
    with Sshd(more=trust, knows_key=False) as server:
        transport = SshTransport(Device.parse(server.files.address), config=server.files.config)
        with pytest.raises(DeviceRefusedError, match="refused the user"):
            transport.open()
        certify = ["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", server.files.user, "-V", "+5m"]
        subprocess.run([*certify, f"{server.files.identity}.pub"], check=True)
        transport.open()
        assert transport.check(["echo", "in"]).text == "in\n"
        transport.close()


def test_a_revoked_key_is_refused(double: SshDouble) -> None:
    line = f"@revoked * ssh-ed25519 {host_blob(double)}\n"
    double.files.known_hosts.write_text(double.files.known_hosts.read_text() + line)
    assert "revokes" in refusal(double).what


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    return "|1|{}|{}".format(
        *(base64.b64encode(part).decode() for part in (salt, hmac.digest(salt, name.encode(), hashlib.sha1)))
    )


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ("{name}", True),
        ("other,{name}", True),
        ("[127.0.0.*]:*", True),
        ("[127.0.0.?]:{port}", True),
        ("{hashed}", True),
        ("[127.0.0.*]:*,!{name}", False),
        ("127.0.0.1", False),
        ("|1|broken", False),
    ],
)
def test_names_of_known_hosts(double: SshDouble, names: str, *, known: bool) -> None:
    name = f"[127.0.0.1]:{double.files.port}"
    shown = names.format(name=name, port=double.files.port, hashed=hashed(name))
    lines = f"junk\n{name} ssh-ed25519 !!!\n{shown} ssh-ed25519 {host_blob(double)} comment\n"
    double.files.known_hosts.write_text(lines)
    if known:
        opened(double).close()
    else:
        assert "is not known" in refusal(double).what


# --- the user --------------------------------------------------------------------------------------
def test_a_refused_key_is_named_and_not_shown(double: SshDouble, caplog: pytest.LogCaptureFixture) -> None:
    double.faults = SshFaults(refuses=True)
    with caplog.at_level(logging.DEBUG):
        error = refusal(double)
    secret = double.files.identity.read_text().splitlines()[2]
    assert f"refused the user {double.files.user}; tried: {double.files.identity}" in error.what
    assert error.hint.startswith(f"put your public key there: ssh-copy-id -p {double.files.port} ")
    assert secret not in f"{error!r}{error.evidence}{caplog.text}"


def test_a_missing_key_is_named(double: SshDouble) -> None:
    double.files.identity.rename(double.files.identity.with_name("gone"))
    assert "(there is no such file)" in refusal(double).what


def test_a_broken_key_is_named(double: SshDouble) -> None:
    double.files.identity.write_text("no key\n")
    assert "(no private key that can be read)" in refusal(double).what


def locked(double: SshDouble) -> None:
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(double.files.identity)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_a_locked_key_wants_the_agent(double: SshDouble) -> None:
    locked(double)
    error = refusal(double)
    assert "for want of a passphrase" in error.what
    assert error.hint == f"give the key to the agent: ssh-add {double.files.identity}"


def test_a_key_is_offered_once(double: SshDouble) -> None:
    copy = double.files.folder / "copy"
    shutil.copyfile(double.files.identity, copy)
    add_line(double, f"IdentityFile {copy}")
    double.faults = SshFaults(refuses=True)
    refusal(double)
    assert len(double.offered) == 1


@pytest.fixture
def agent(double: SshDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run a real agent; it holds a stranger's key and then the right one."""
    program = shutil.which("ssh-agent")
    if program is None:
        pytest.skip("ssh-agent is not installed: apt-get install openssh-client")
    socket = double.files.folder / "agent"
    process = subprocess.Popen([program, "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    stranger = double.files.folder / "stranger"
    make_key(stranger)
    try:
        while not socket.exists():
            assert process.poll() is None
        environment = os.environ | {"SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", stranger, double.files.identity], check=True, env=environment)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        config = double.files.config
        config.write_text(config.read_text().replace("    IdentityAgent none\n", ""))
        yield socket
    finally:
        process.terminate()
        process.wait()


@pytest.mark.usefixtures("agent")
def test_the_agent_opens_for_a_locked_key(double: SshDouble) -> None:
    """And with IdentitiesOnly the agent's other keys are not offered."""
    locked(double)
    opened(double).close()
    assert len(double.offered) == 1


@pytest.mark.usefixtures("agent")
def test_the_agents_keys_are_tried(double: SshDouble) -> None:
    config = double.files.config
    lines = [line for line in config.read_text().splitlines() if "Identit" not in line]
    config.write_text("\n".join(lines))
    opened(double).close()
    assert len(double.offered) == 2
    double.faults = SshFaults(refuses=True)
    assert "the agent (2 keys)" in refusal(double).what


def test_an_agent_that_is_gone_is_no_agent(double: SshDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(double.files.folder / "none"))
    config = double.files.config
    config.write_text(config.read_text().replace("    IdentityAgent none\n", ""))
    opened(double).close()
