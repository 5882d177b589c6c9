"""Addresses: what they are read as, what is refused, and that no message repeats a password."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UnknownNameError, UsageError
from edgekit.targets import Device
from edgekit.targets.device import SCHEMES

READ = [
    ("local://", ("local", "", "", None)),
    ("fake://", ("fake", "", "", None)),
    ("ssh://board", ("ssh", "board", "", None)),
    ("ssh://Board.Lab.example", ("ssh", "Board.Lab.example", "", None)),
    ("ssh://pi@10.0.0.7", ("ssh", "10.0.0.7", "pi", None)),
    ("ssh://pi@10.0.0.7:2222", ("ssh", "10.0.0.7", "pi", 2222)),
    ("ssh://pi@10.0.0.7/", ("ssh", "10.0.0.7", "pi", None)),
    ("ssh://board:1", ("ssh", "board", "", 1)),
    ("ssh://board:65535", ("ssh", "board", "", 65535)),
    ("ssh://my_alias", ("ssh", "my_alias", "", None)),
    ("ssh://[::1]", ("ssh", "::1", "", None)),
    ("ssh://[fe80::1%eth0]:22", ("ssh", "fe80::1%eth0", "", 22)),
    ("ssh://root@[2001:db8::7]:2200", ("ssh", "2001:db8::7", "root", 2200)),
    ("adb://R5CT30XYZ", ("adb", "R5CT30XYZ", "", None)),
    ("adb://127.0.0.1:15555", ("adb", "127.0.0.1:15555", "", None)),
    ("adb://adb-1A2B3C._adb-tls-connect._tcp", ("adb", "adb-1A2B3C._adb-tls-connect._tcp", "", None)),
]


@pytest.mark.parametrize(("address", "parts"), READ)
def test_an_address_is_read(address, parts):
    device = Device.parse(address)
    assert (device.scheme, device.host, device.user, device.port) == parts
    assert device.address == address
    assert device.target is None


def test_a_target_is_kept():
    assert Device.parse("ssh://board", target="raspberry-pi-5").target == "raspberry-pi-5"


def test_a_device_is_data():
    device = Device.parse("ssh://pi@board:22")
    assert device == Device.parse("ssh://pi@board:22")
    assert len({device, Device.parse("ssh://pi@board:22")}) == 1
    with pytest.raises(FrozenInstanceError):
        device.host = "other"


@pytest.mark.parametrize(
    "address",
    [
        "ssh://pi:hunter2@board",
        "ssh://pi:hunter2@board:2222",
        "ssh://pi:@hunter2@board",
        "ssh://pi:hunter2/x@board",
        "ssh://pi:hunter2#x?y@board",
        "ssh://pi:x@hunter2@board",
        "ssh://pi:x//hunter2@board",
        "ssh://pi:[hunter2@board",
        "ssh://:hunter2@board",
        "pi:hunter2@board",
        "pi:x//hunter2@board",
        "pi:hunter2://x@board",
        "ssh:/pi:hunter2@board",
        "ssh://pi:hunter2 x@board",
        "local://pi:hunter2@board",
        "fake://pi:hunter2@board",
    ],
)
def test_a_password_is_refused_and_not_repeated(address):
    with pytest.raises(UsageError) as caught:
        Device.parse(address)
    everything = (
        f"{caught.value} {caught.value.what} {caught.value.hint} {caught.value.evidence} {caught.value!r}"
    )
    assert "hunter2" not in everything


def test_a_refused_password_is_named_as_such():
    with pytest.raises(UsageError) as caught:
        Device.parse("ssh://pi:hunter2@board")
    assert (
        str(caught.value)
        == "'ssh://pi@board' is given with a password: use a key or the agent: ssh-copy-id, ssh-add"
    )


@pytest.mark.parametrize("port", ["0", "65536", "99999999", "-1", "+22", "2 2", "ssh", "", "٢٢", "22x"])
def test_a_bad_port_is_refused(port):
    with pytest.raises(UsageError):
        Device.parse(f"ssh://board:{port}")


def test_a_bad_port_says_what_a_port_is():
    with pytest.raises(
        UsageError, match=r"'ssh://board:70000' has a port that is none: '70000': a port is 1 to 65535"
    ):
        Device.parse("ssh://board:70000")


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("shs://board", "ssh"),
        ("SSH://board", "adb, fake, local, ssh"),
        ("abd://X", "adb"),
        ("locl://", "local"),
    ],
)
def test_an_unknown_scheme_is_refused_with_the_nearest(address, near):
    with pytest.raises(UnknownNameError) as caught:
        Device.parse(address)
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "board",
        "ssh:board",
        "://board",
        "ssh://",
        "ssh://@board",
        "ssh://pi@",
        "ssh://pi@board/home",
        "ssh://board?x=1",
        "ssh://board#x",
        "ssh://fe80::1",
        "ssh://[fe80::1",
        "ssh://[::::]",
        "ssh://[10.0.0.7]",
        "ssh://-oProxyCommand=x",
        "ssh://-l@board",
        "ssh://bo ard",
        "ssh://bo\nard",
        "ssh://board\t",
        "adb://",
        "adb://a/b",
        "adb://-s",
        "adb://a\nb",
        "local://here",
        "fake://phone",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(address):
    with pytest.raises(UsageError) as caught:
        Device.parse(address)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        device = Device.parse(text)
    except UsageError:
        return
    assert device.scheme in SCHEMES
    assert device.address == text


@given(st.sampled_from(SCHEMES), st.text(alphabet="ab@:/[]%?#- \n1", max_size=20))
def test_nothing_read_can_pass_for_an_option(scheme, rest):
    try:
        device = Device.parse(f"{scheme}://{rest}")
    except UsageError:
        return
    assert not device.host.startswith("-")
    assert not device.user.startswith("-")
    assert device.host.isprintable()
    assert device.port is None or 1 <= device.port <= 65535
