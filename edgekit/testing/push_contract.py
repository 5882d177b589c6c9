"""What every transport's push keeps to, as tests; `TransportContract` brings them.

A push is interrupted as the device sees it: so many bytes arrive, then the end of the input, then no host.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from edgekit.errors import DeviceFullError, DeviceLostError
from edgekit.runners.depot import Depot
from edgekit.testing.noise import noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgekit.runners.transport import Transport

SIZE = 700_001
_WAITS = """exec 3>>"$1"; : >"$2.ready"
n=0; while [ ! -e "$2.go" ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done
echo late >&3; : >"$2.late\""""


class PushContract:
    """Tests over the fixtures `transport`, `folder` and `small_folder`."""

    patience_s = 60.0

    @pytest.mark.parametrize("arrived", [1, 65_536, SIZE - 1, SIZE])
    def test_an_interrupted_push_goes_on(
        self, transport: Transport, folder: str, tmp_path: Path, arrived: int
    ) -> None:
        """Only what is missing is sent; until then the old file is there, and nothing stays beside it."""
        remote = f"{folder}/file"
        (tmp_path / "sent").write_bytes(b"old")
        transport.push(tmp_path / "sent", remote)
        data = self._interrupted(transport, remote, tmp_path / "sent", arrived)
        if arrived < SIZE:
            assert transport.check(["cat", remote]).text == "old"
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", remote)
        assert offsets == [arrived if arrived < SIZE else 0]
        assert transport.check(["cat", remote]).stdout == data
        assert self._names(transport, folder) == ["file"]

    def test_interrupted_again_and_again(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Each time a piece more is there, in one part."""
        for piece in (100_000, 50_000, 200_000):
            data = self._interrupted(transport, f"{folder}/file", tmp_path / "sent", piece)
            assert len(self._names(transport, folder)) == 1
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", f"{folder}/file")
        assert offsets == [350_000]
        assert transport.check(["cat", f"{folder}/file"]).stdout == data

    @pytest.mark.parametrize("harm", ["changed", "longer", "empty"])
    def test_a_part_that_is_no_beginning(
        self, transport: Transport, folder: str, tmp_path: Path, harm: str
    ) -> None:
        """Its length proves nothing: it is thrown away, and the file sent from its beginning."""
        data = self._interrupted(transport, f"{folder}/file", tmp_path / "sent", 400_000)
        (part,) = self._names(transport, folder)
        bad = {"changed": data[:399_999] + bytes([data[399_999] ^ 1]), "longer": data + b"!", "empty": b""}
        transport.check(["sh", "-c", 'exec cat >"$1"', "sh", f"{folder}/{part}"], stdin=bad[harm])
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", f"{folder}/file")
        assert offsets == [0]
        assert transport.check(["cat", f"{folder}/file"]).stdout == data
        assert self._names(transport, folder) == ["file"]

    def test_a_part_of_another_content(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """It is not touched: who pushes that content may go on with it."""
        self._interrupted(transport, f"{folder}/file", tmp_path / "sent", 400_000)
        (part,) = self._names(transport, folder)
        (tmp_path / "sent").write_bytes(b"something else")
        transport.push(tmp_path / "sent", f"{folder}/file")
        assert self._names(transport, folder) == sorted([part, "file"])

    def test_a_part_that_is_still_written_to(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """What an old link still brings does not get into the new file, neither soon nor late."""
        data = self._interrupted(transport, f"{folder}/file", tmp_path / "sent", 400_000)
        (part,) = self._names(transport, folder)
        signs = f"{transport.root()}/signs-{secrets.token_hex(4)}"
        words = ["sh", "-c", _WAITS, "sh", f"{folder}/{part}", signs]
        transport.start(words, log=f"{signs}.log")
        self._wait_for(transport, f"{signs}.ready")
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", f"{folder}/file")
        transport.check(["touch", f"{signs}.go"])
        self._wait_for(transport, f"{signs}.late")
        transport.check(["sh", "-c", 'rm -f -- "$1".*', "sh", signs])
        assert offsets == [400_000]
        assert transport.check(["cat", f"{folder}/file"]).stdout == data
        assert self._names(transport, folder) == ["file"]

    def test_two_hosts_push_the_same_content(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Over what a third one left; both succeed, and the file is whole whenever it is there."""
        data = self._interrupted(transport, f"{folder}/file", tmp_path / "sent", 200_000)
        wanted = hashlib.sha256(data).hexdigest()
        with ThreadPoolExecutor(3) as pool:
            pushes = [pool.submit(transport.push, tmp_path / "sent", f"{folder}/file") for _ in range(3)]
            while not all(push.done() for push in pushes):
                if "file" in self._names(transport, folder):
                    assert transport.sha256(f"{folder}/file") == wanted
        assert [push.result() for push in pushes] == [wanted] * 3
        assert transport.check(["cat", f"{folder}/file"]).stdout == data
        assert self._names(transport, folder) == ["file"]

    def test_no_space_to_go_on(self, transport: Transport, small_folder: str, tmp_path: Path) -> None:
        """A full device keeps nothing of it, neither what came now nor what was there."""
        (tmp_path / "sent").write_bytes(noise(4 << 20))
        with interrupted(transport, 500_000), pytest.raises(DeviceLostError):
            transport.push(tmp_path / "sent", f"{small_folder}/file")
        assert len(self._names(transport, small_folder)) == 1
        with pytest.raises(DeviceFullError):
            transport.push(tmp_path / "sent", f"{small_folder}/file")
        assert self._names(transport, small_folder) == []

    def test_the_same_content_again(self, transport: Transport, tmp_path: Path) -> None:
        """It costs one round trip to learn that it is there, and is for its owner alone."""
        (tmp_path / "sent").write_bytes(secrets.token_bytes(SIZE))
        depot = Depot(transport)
        remote = depot.put(tmp_path / "sent")
        with mock.patch.object(transport, "_execute", wraps=transport._execute) as executed:  # noqa: SLF001
            assert depot.put(tmp_path / "sent") == remote
        assert executed.call_count == 1
        assert transport.check(["ls", "-ln", remote]).text.startswith("-rw------- ")
        transport.check(["rm", "-rf", "--", remote.rpartition("/")[0]])

    # --- helpers -------------------------------------------------------------------------------
    def _interrupted(self, transport: Transport, remote: str, sent: Path, arrived: int) -> bytes:
        """Push what is always the same, of which so many bytes more arrive; return all of it."""
        data = noise(SIZE, seed=3)
        sent.write_bytes(data)
        with interrupted(transport, arrived), pytest.raises(DeviceLostError):
            transport.push(sent, remote)
        return data

    @staticmethod
    def _names(transport: Transport, folder: str) -> list[str]:
        return transport.check(["ls", "-A", folder]).text.split()

    def _wait_for(self, transport: Transport, path: str) -> None:
        end = time.monotonic() + self.patience_s
        while transport.run(["ls", path]).exit_code:
            assert time.monotonic() < end, f"{path} did not come"
            time.sleep(0.05)


@contextmanager
def counted(transport: Transport) -> Iterator[list[int]]:
    """Give the offsets from which files are sent meanwhile."""
    offsets: list[int] = []
    feed = transport._feed  # noqa: SLF001  the device's side of a cut

    def counting(command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        offsets.append(offset)
        return feed(command, local, offset=offset, timeout_s=timeout_s)

    with mock.patch.object(transport, "_feed", counting):
        yield offsets


@contextmanager
def interrupted(transport: Transport, arrived: int) -> Iterator[None]:
    """Let so many bytes of each file arrive meanwhile, and its push end as with a link that died then."""
    feed = transport._feed  # noqa: SLF001  the device's side of a cut

    def cut(command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        short = local.with_name(f"{local.name}.short")
        short.write_bytes(local.read_bytes()[: offset + arrived])
        try:
            feed(command, short, offset=offset, timeout_s=timeout_s)
        finally:
            short.unlink()
        raise DeviceLostError(transport.device.address, "the link died")

    with mock.patch.object(transport, "_feed", cut):
        yield
