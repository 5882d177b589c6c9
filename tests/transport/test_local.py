"""This machine keeps the transports' contract."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import DeviceTimeoutError, UsageError
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
from edgekit.testing.transport_contract import TransportContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgekit.runners.transport import Transport


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


class TestLocal(TransportContract):
    @pytest.fixture
    def transport(self, local: Transport) -> Transport:
        return local


def test_its_folder_is_in_the_cache(
    local: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local.root() == f"{tmp_path}/cache/edgekit/device"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local.root() == f"{tmp_path}/.cache/edgekit/device"


def test_a_command_has_a_session_of_its_own(local: Transport) -> None:
    session = int(local.check(["sh", "-c", "cut -d' ' -f6 /proc/$$/stat"]).text)
    assert session != os.getsid(0)


def test_a_command_that_no_system_takes(local: Transport) -> None:
    with pytest.raises(UsageError, match=r"^local://: the command is too long"):
        local.run(["true", "x" * (1 << 20)])


def test_an_escaped_child_does_not_hold_the_deadline(local: Transport) -> None:
    """A process in another session, without our mark, keeps the pipes open: the error comes all the same."""
    with pytest.raises(DeviceTimeoutError):
        local.run(["sh", "-c", "env -i setsid sleep 8 & sleep 600"], timeout_s=0.5)
