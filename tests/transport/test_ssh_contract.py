"""SSH keeps the contract: over the double, its slow twin, this machine's OpenSSH, and an aarch64 board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing.ssh_double import SshDouble, SshFaults
from edgekit.testing.sshd import Sshd, sshd_program
from edgekit.testing.transport_contract import TransportContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.runners.transport import Transport
    from edgekit.testing.board import Board


class TestSshDouble(TransportContract):
    faults = SshFaults()
    server: SshDouble

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        with SshDouble(faults=self.faults) as self.server:
            device = Device.parse(self.server.files.address)
            with SshTransport(device, config=self.server.files.config) as transport:
                yield transport

    def cut(self, transport: Transport) -> None:
        self.server.cut()


class TestSshDoubleSlow(TestSshDouble):
    faults = SshFaults(slow_bytes=2000)


@pytest.mark.skipif(not sshd_program(), reason="sshd is not installed: apt-get install openssh-server")
class TestOpenSsh(TransportContract):
    server: Sshd

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        with Sshd() as self.server:
            device = Device.parse(self.server.files.address)
            with SshTransport(device, config=self.server.files.config) as transport:
                yield transport

    def cut(self, transport: Transport) -> None:
        self.server.cut()


@pytest.mark.board
class TestBoard(TransportContract):
    names = ('it\'s "quoted" $HOME `id`.bin', "grüße 日本.bin", "line\nbreak.bin")

    @pytest.fixture
    def transport(self, board: Board) -> Iterator[Transport]:
        with SshTransport(Device.parse(board.address)) as transport:
            yield transport
