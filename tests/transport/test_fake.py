"""The fake device keeps the contract, and fails as it is told to."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import DeviceLostError, DeviceTimeoutError
from edgekit.runners.transport import open_transport
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device
from edgekit.testing.transport_contract import TransportContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.runners.transport import Transport

FAKE = Device.parse("fake://")


class TestFake(TransportContract):
    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        with open_transport(FAKE) as transport:
            yield transport

    def cut(self, transport: Transport) -> None:
        assert isinstance(transport, FakeTransport)
        transport.faults = Faults(dies_after_calls=0, stays_dead=True)


def test_it_says_what_it_is() -> None:
    with FakeTransport(FAKE) as transport:
        told = transport.check(["sh", "-c", 'echo "$EDGEKIT_FAKE $HOME"; pwd']).text.splitlines()
        home = str(Path(transport.root()).parent)
    assert told == [f"1 {home}", home]


def test_its_folder_goes_with_it() -> None:
    with FakeTransport(FAKE) as transport:
        folder = Path(transport.root()).parent
        transport.check(["touch", "file"])
        transport.reopen()
        assert (folder / "file").exists()
    del transport
    gc.collect()
    assert not folder.exists()


def test_it_dies_after_calls_and_comes_back() -> None:
    with FakeTransport(FAKE, faults=Faults(dies_after_calls=2)) as transport:
        for _ in range(2):
            transport.check(["true"])
        for _ in range(2):
            with pytest.raises(DeviceLostError, match=r"^fake://: "):
                transport.check(["true"])
        transport.reopen()
        transport.check(["true"])


def test_it_stays_dead() -> None:
    with FakeTransport(FAKE, faults=Faults(dies_after_calls=0, stays_dead=True)) as transport:
        with pytest.raises(DeviceLostError):
            transport.check(["true"])
        with pytest.raises(DeviceLostError):
            transport.reopen()


def test_it_dies_in_the_middle_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(300_000))
    with FakeTransport(FAKE, faults=Faults(dies_after_bytes=100_000)) as transport:
        remote = f"{transport.root()}/file"
        with pytest.raises(DeviceLostError):
            transport.push(tmp_path / "sent", remote)
        transport.reopen()
        (part,) = Path(transport.root()).iterdir()
        assert part.stat().st_size == 100_000
        transport.push(tmp_path / "sent", remote)
        assert transport.check(["ls", transport.root()]).text == "file\n"


def test_it_dies_in_the_middle_of_an_output() -> None:
    with FakeTransport(FAKE, faults=Faults(dies_after_bytes=10)) as transport:
        transport.check(["head", "-c", "10", "/dev/zero"])
        with pytest.raises(DeviceLostError):
            transport.check(["head", "-c", "11", "/dev/zero"])


def test_it_stalls() -> None:
    with FakeTransport(FAKE, faults=Faults(stalls_after_calls=1)) as transport:
        transport.check(["true"])
        with pytest.raises(DeviceLostError, match="a deadline passed, and then the device did not answer"):
            transport.check(["true"], timeout_s=0.1)
        with pytest.raises(DeviceTimeoutError):
            transport.sha256("/etc/passwd")


def test_it_reads_in_small_pieces(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"0123456789")
    with FakeTransport(FAKE, faults=Faults(read_limit=3)) as transport:
        transport.push(tmp_path / "sent", f"{transport.root()}/file")
        assert transport.read_from(f"{transport.root()}/file", 2, limit=10) == b"234"
