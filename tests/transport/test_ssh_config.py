"""What ~/.ssh/config says is what is done."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.runners.transport.ssh_config import Hop, hops
from edgekit.targets import Device


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EDGEKIT_SSH_CONFIG", raising=False)
    monkeypatch.setattr("edgekit.runners.transport.ssh_config._SYSTEM_CONFIG", str(tmp_path / "system"))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def way(home: Path, text: str, address: str = "ssh://board") -> tuple[Hop, ...]:
    (home / ".ssh" / "config").write_text(text)
    return hops(Device.parse(address))


def test_without_a_configuration(home: Path) -> None:
    (hop,) = hops(Device.parse("ssh://10.0.0.7"))
    assert (hop.host, hop.port, hop.user) == ("10.0.0.7", 22, getpass.getuser())
    assert hop.keys[0] == home / ".ssh" / "id_ed25519"
    assert hop.known_hosts[0] == home / ".ssh" / "known_hosts"
    assert (hop.chosen, hop.only_chosen, hop.agent, hop.unknown_accepted) == (False, False, True, False)
    assert hop.lookup_name == "10.0.0.7"
    assert hop.timeout_s > 0


def test_each_word_counts(home: Path) -> None:
    (hop,) = way(
        home,
        """
        Host board
            HostName 10.0.0.7
            User pi
            Port 2222
            IdentityFile ~/.ssh/board
            IdentityFile "/keys/a b"
            IdentitiesOnly yes
            IdentityAgent none
            UserKnownHostsFile ~/hosts /more
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking no
            ConnectTimeout 3
            ProxyCommand nc %h %p
        """,
    )
    assert (hop.name, hop.host, hop.user, hop.port) == ("board", "10.0.0.7", "pi", 2222)
    assert hop.keys == (home / ".ssh/board", Path("/keys/a b"))
    assert (hop.chosen, hop.only_chosen, hop.agent, hop.unknown_accepted) == (True, True, False, True)
    assert hop.known_hosts == (home / "hosts", Path("/more"), Path("/dev/null"))
    assert (hop.timeout_s, hop.proxy_command) == (3.0, "nc 10.0.0.7 2222")
    assert hop.lookup_name == "[10.0.0.7]:2222"


def test_the_address_goes_before_the_configuration(home: Path) -> None:
    (hop,) = way(home, "Host board\n User pi\n Port 2222\n HostKeyAlias one", "ssh://me@board:23")
    assert (hop.user, hop.port, hop.lookup_name) == ("me", 23, "one")


def test_a_new_host_is_remembered_in_the_users_first_file(home: Path) -> None:
    (hop,) = way(home, "Host board\n StrictHostKeyChecking accept-new\n UserKnownHostsFile ~/a ~/b\n")
    assert (hop.unknown_accepted, hop.remember) == (False, home / "a")
    (hop,) = way(home, "Host board\n StrictHostKeyChecking accept-new\n UserKnownHostsFile none\n")
    assert hop.remember is None
    (hop,) = way(home, "Host board\n StrictHostKeyChecking yes\n")
    assert hop.remember is None


def test_the_first_value_counts(home: Path) -> None:
    (home / "system").write_text("User system\nPort 99\n")
    (hop,) = way(home, "Host b*\n User first\nHost *\n User second\n")
    assert (hop.user, hop.port) == ("first", 99)


def test_a_known_hosts_file_with_a_space(home: Path) -> None:
    (home / "my hosts").touch()
    (hop,) = way(home, f'UserKnownHostsFile "{home}/my hosts"')
    assert hop.known_hosts[0] == home / "my hosts"


def test_included_files(home: Path) -> None:
    """Their lines stand where the Include stood, and a block in them ends with them."""
    (home / ".ssh" / "conf.d").mkdir()
    (home / ".ssh" / "conf.d" / "one").write_text("Host board\n Port 1111\nHost other\n")
    (hop,) = way(home, "Include conf.d/* ~/none\nUser pi\nHost board\n Port 2\n")
    assert (hop.user, hop.port) == ("pi", 1111)


def test_files_that_include_each_other(home: Path) -> None:
    with pytest.raises(UsageError, match="in a circle"):
        way(home, "Include config")


def test_jump_hosts(home: Path) -> None:
    """In order, each by its own block; only the first one's own ProxyJump counts."""
    text = """
        Host board
            ProxyJump me@first:2201,second
        Host first
            HostName 10.1.1.1
            ProxyJump gate
        Host second
            Port 77
            ProxyJump nobody
    """
    chain = way(home, text)
    assert [(hop.name, hop.port) for hop in chain] == [
        ("gate", 22),
        ("first", 2201),
        ("second", 77),
        ("board", 22),
    ]
    assert (chain[1].host, chain[1].user) == ("10.1.1.1", "me")


def test_jump_hosts_in_a_circle(home: Path) -> None:
    with pytest.raises(UsageError, match="in a circle"):
        way(home, "Host *\n ProxyJump board")


def test_no_jump_host(home: Path) -> None:
    assert len(way(home, "Host board\n ProxyJump none\n ProxyCommand none\n")) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Port twenty", "port"), ("ConnectTimeout soon", "connecttimeout"), ('Host "a', "can't be read")],
)
def test_what_cannot_be_read(home: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        way(home, text)


def test_another_file_is_the_only_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ssh" / "config").write_text("Port 1\n")
    (home / "system").write_text("Port 2\n")
    (home / "mine").write_text("User me\n")
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(home / "mine"))
    (hop,) = hops(Device.parse("ssh://board"))
    assert (hop.user, hop.port) == ("me", 22)
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(home / "none"))
    with pytest.raises(UsageError, match="is no file: mend or unset EDGEKIT_SSH_CONFIG"):
        hops(Device.parse("ssh://board"))
    (hop,) = hops(Device.parse("ssh://board"), home / ".ssh" / "config")
    assert hop.port == 1
