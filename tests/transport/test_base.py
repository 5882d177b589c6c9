"""What the base does when primitives fail: no half file, no lost word, no wrong error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.errors import (
    CommandFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    ResultError,
    UnknownNameError,
    UsageError,
)
from edgekit.runners.transport import TRANSPORTS, Transport, open_transport
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device
from edgekit.targets.device import SCHEMES

if TYPE_CHECKING:
    from pathlib import Path

FAKE = Device.parse("fake://")


class Frozen(FakeTransport):
    """A device that takes commands and never ends them, the killing ones too."""

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        raise DeviceTimeoutError(self.device.address, "no end")


class Stubborn(FakeTransport):
    """A device where something can't be killed."""

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        if "EDGEKIT_MARK=[" in command:
            return 1, b"", b""
        raise DeviceTimeoutError(self.device.address, "no end")


def test_a_device_that_answers_nothing_more_is_lost() -> None:
    """When the killing does not get through either, a timeout would promise too much."""
    with Frozen(FAKE) as transport, pytest.raises(DeviceLostError, match="may still run there") as caught:
        transport.run(["sleep", "1"])
    assert "no end" in caught.value.evidence


def test_what_would_not_die_is_said() -> None:
    with Stubborn(FAKE) as transport, pytest.raises(DeviceTimeoutError, match="would not die") as caught:
        transport.run(["sleep", "1"])
    assert "EDGEKIT_MARK=" in caught.value.hint


def test_a_changed_file_does_not_arrive(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"data")
    with FakeTransport(FAKE, faults=Faults(lies_about_sha256=True)) as transport:
        remote = f"{transport.root()}/file"
        with pytest.raises(DeviceLostError, match="sent arrived changed"):
            transport.push(tmp_path / "sent", remote)
        assert transport.check(["ls", "-A", transport.root()]).text == ""
        transport.check(["sh", "-c", f"echo data > '{remote}'"])
        with pytest.raises(DeviceLostError, match="arrived changed"):
            transport.pull(remote, tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["sent"]


def test_a_pull_to_nowhere_is_the_callers_mistake(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"data")
    with FakeTransport(FAKE) as transport:
        remote = f"{transport.root()}/file"
        transport.push(tmp_path / "sent", remote)
        with pytest.raises(UsageError, match="can't be written: No such file"):
            transport.pull(remote, tmp_path / "none" / "back")


def test_a_file_that_cannot_be_read_is_not_empty(tmp_path: Path) -> None:
    with FakeTransport(FAKE) as transport:
        transport.check(["mkdir", "-p", transport.root()])
        with pytest.raises(CommandFailedError):
            transport.read_from(transport.root(), 0, limit=10)


def test_an_answer_without_a_sum_is_an_error(tmp_path: Path) -> None:
    """A login that talks, or a sha256sum that is none, does not become a sum."""
    with FakeTransport(FAKE) as transport:
        transport.check(["mkdir", "-p", transport.root()])
        with pytest.raises((CommandFailedError, ResultError)):
            Transport.sha256(transport, transport.root())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_has_a_transport(scheme: str) -> None:
    assert issubclass(TRANSPORTS.get(scheme), Transport)


def test_an_unknown_transport_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'local'"):
        open_transport(Device(address="locl://", scheme="locl"))
