"""What every transport keeps to, as tests that a transport's author inherits.

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def transport(self) -> Iterator[Transport]:
            with MyTransport(Device.parse("...")) as transport:
                yield transport

        def cut(self, transport: Transport) -> None:
            "Make the device dead, for good."

The device needs what EdgeKit needs of one: a POSIX sh, and coreutils, busybox or toybox.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import (
    CommandFailedError,
    DeviceFullError,
    DeviceLostError,
    DeviceTimeoutError,
    UsageError,
)
from edgekit.testing.noise import noise
from edgekit.testing.push_contract import PushContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgekit.runners.transport import Transport

ARGUMENTS = (
    "",
    " two  spaces ",
    "it's",
    'say "hi"',
    "$? $HOME ${x} $(id) `id`",
    "!# !! #",
    "back\\slash \\n \\\\",
    "* ? [a-z] ~ {a,b}",
    "line\nbreak\r\n\ttab",
    "grüße 日本 🚀",
    "-n",
    "--",
    "; & | < > ( ) %s",
    "trailing\\",
)
NAMES = (
    "plain.bin",
    "two words.bin",
    'it\'s "quoted" $HOME `id`.bin',
    "grüße 日本.bin",
    "-dash.bin",
    ".hidden.bin",
    "star*?[a].bin",
    "back\\slash.bin",
    "line\nbreak.bin",
)
MIB = 1 << 20
_SHOW_ARGUMENTS = 'for a; do printf "%s\\0" "$a"; done'


class TransportContract(PushContract):
    """Tests over a fixture `transport` (open) that the subclass gives; see this module's head."""

    file_size = 8 * MIB
    output_size = MIB
    patience_s = 60.0
    names: tuple[str, ...] = NAMES

    # --- what a subclass gives -----------------------------------------------------------------
    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        """Yield an open transport to the device under test."""
        raise NotImplementedError("the subclass gives the fixture 'transport'")

    def cut(self, transport: Transport) -> None:
        """Make the device dead for good: the link's next use finds nothing there."""
        pytest.skip(f"{transport.device.address} has no link that could be cut")

    @pytest.fixture
    def folder(self, transport: Transport) -> Iterator[str]:
        """Yield an empty folder on the device."""
        path = f"{transport.root()}/contract-{secrets.token_hex(4)}"
        transport.check(["mkdir", "-p", "--", path])
        yield path
        try:
            transport.run(["rm", "-rf", "--", path])
        except (DeviceLostError, UsageError):
            return  # the test cut the link or closed the transport

    @pytest.fixture
    def small_folder(self, transport: Transport, folder: str) -> Iterator[str]:
        """Yield a folder on the device that holds 1 MiB and no more."""
        path = f"{folder}/small"
        transport.check(["mkdir", path])
        mounted = transport.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path])
        if mounted.exit_code:
            pytest.skip(f"no small file system there: {mounted.tail}")
        yield path
        transport.check(["umount", path])

    # --- commands ------------------------------------------------------------------------------
    def test_several_commands_in_one_trip(self, transport: Transport) -> None:
        """Each tells its own, up to the first that fails; one input serves them all."""
        read = ["sh", "-c", 'IFS= read -r line; printf "<%s>" "$line"; printf no >&2']
        told = transport.check_all([read, ["printf", "a\nb"], read], stdin=b"one\ntwo")
        assert [one.stdout for one in told] == [b"<one>", b"a\nb", b"<two>"]
        assert [one.stderr for one in told] == [b"no", b"", b"no"]
        with pytest.raises(CommandFailedError, match="ended with 7: why"):
            transport.check_all([["true"], ["sh", "-c", "echo why >&2; exit 7"], ["echo", "never"]])

    @pytest.mark.parametrize("code", [0, 1, 2, 7, 126, 127, 128, 137, 255])
    def test_an_exit_code_comes_back(self, transport: Transport, code: int) -> None:
        """0 to 255, none taken for something else."""
        assert transport.run(["sh", "-c", f"exit {code}"]).exit_code == code

    @pytest.mark.parametrize(("signal", "code"), [("KILL", 137), ("TERM", 143)])
    def test_a_signal_is_128_and_its_number(self, transport: Transport, signal: str, code: int) -> None:
        """A command that a signal ends has an exit code too."""
        assert transport.run(["sh", "-c", f"kill -{signal} $$"]).exit_code == code

    def test_what_is_not_there_ends_with_127(self, transport: Transport) -> None:
        """The shell's own code for a command that was not found."""
        assert transport.run(["edgekit-has-no-such-command"]).exit_code == 127

    def test_arguments_arrive_unchanged(self, transport: Transport) -> None:
        """Spaces, quotes, dollars, backslashes, globs, newlines, UTF-8, empty ones."""
        result = transport.check(["sh", "-c", _SHOW_ARGUMENTS, "sh", *ARGUMENTS])
        assert result.stdout.split(b"\0")[:-1] == [text.encode() for text in ARGUMENTS]

    def test_streams_stay_apart(self, transport: Transport) -> None:
        """Standard output and standard error do not mix."""
        result = transport.check(["sh", "-c", "printf one; printf two >&2; printf three"])
        assert (result.stdout, result.stderr) == (b"onethree", b"two")

    def test_variables_and_folder(self, transport: Transport, folder: str) -> None:
        """`env` and `cwd` reach the command; the folder's name may be odd."""
        odd = f"{folder}/it's here"
        transport.check(["mkdir", odd])
        result = transport.check(
            ["sh", "-c", 'printf "%s|" "$ONE"; pwd'], env={"ONE": "two 'words' $x"}, cwd=odd
        )
        assert result.text == f"two 'words' $x|{odd}\n"

    def test_a_missing_folder_runs_nothing(self, transport: Transport, folder: str) -> None:
        """A command is not run in another folder than the one asked for."""
        result = transport.run(["echo", "ran"], cwd=f"{folder}/none", env={"A": "1"})
        assert result.exit_code != 0
        assert result.stdout == b""

    def test_binary_goes_in_and_comes_out(self, transport: Transport) -> None:
        """Standard input and output take any byte, more than any buffer on the way, both at once."""
        data = noise(self.output_size)
        assert transport.check(["cat"], stdin=data).stdout == data

    def test_both_streams_may_be_large(self, transport: Transport) -> None:
        """Much on standard error does not block standard output."""
        script = f"head -c {self.output_size} /dev/zero >&2; head -c {self.output_size} /dev/zero"
        result = transport.check(["sh", "-c", script], timeout_s=self.patience_s)
        assert (len(result.stdout), len(result.stderr)) == (self.output_size, self.output_size)

    def test_input_that_nobody_reads(self, transport: Transport) -> None:
        """A command that ends without reading its input is no error."""
        assert transport.run(["sh", "-c", "exit 3"], stdin=noise(self.output_size)).exit_code == 3

    def test_a_failed_check_tells_the_tail(self, transport: Transport) -> None:
        """CommandFailedError starts with the address and has the output's tail as evidence."""
        with pytest.raises(CommandFailedError, match="ended with 9: the reason") as caught:
            transport.check(["sh", "-c", "echo the reason >&2; exit 9"])
        self._in_front(transport, caught.value)
        assert caught.value.evidence == "the reason"

    @pytest.mark.parametrize("argv", ["echo hello", [], ["echo", "nul\0byte"]])
    def test_what_is_no_command_is_refused(self, transport: Transport, argv: list[str]) -> None:
        """A string, nothing, and what no command line can hold."""
        with pytest.raises(UsageError):
            transport.run(argv)

    # --- deadlines -----------------------------------------------------------------------------
    def test_a_deadline_leaves_nothing_running(self, transport: Transport) -> None:
        """The command, its children and their children are gone when the error arrives."""
        nap = self._nap()
        script = f"sh -c 'sleep {nap} & sleep {nap}; true' & (sleep {nap}; true) & setsid sleep {nap}; true"
        with pytest.raises(DeviceTimeoutError) as caught:
            transport.run(["sh", "-c", script], timeout_s=2.0)
        self._in_front(transport, caught.value)
        assert self._processes(transport, nap) == []

    def test_after_a_deadline_the_next_command_works(self, transport: Transport) -> None:
        """One late command costs neither the link nor another command's output."""
        with pytest.raises(DeviceTimeoutError):
            transport.run(["sh", "-c", f"echo early; sleep {self._nap()}"], timeout_s=1.0)
        assert transport.check(["echo", "next"]).text == "next\n"

    def test_a_deadline_while_input_is_stuck(self, transport: Transport) -> None:
        """A command that never reads its input meets its deadline too."""
        nap = self._nap()
        with pytest.raises(DeviceTimeoutError):
            transport.run(["sleep", nap], stdin=noise(4 * self.output_size), timeout_s=2.0)
        assert self._processes(transport, nap) == []

    # --- what outlives the link ----------------------------------------------------------------
    def test_started_outlives_the_link(self, transport: Transport, folder: str) -> None:
        """It goes on after close and open, writes its log, and dies by its group with its children."""
        nap = self._nap()
        script = f"echo ready; echo oops >&2; sleep {nap} & sleep {nap}; true"
        pid = transport.start(["sh", "-c", script], log=f"{folder}/log")
        transport.reopen()
        self._until(lambda: transport.read_from(f"{folder}/log", 0, limit=99) == b"ready\noops\n")
        assert pid in self._processes(transport, nap)
        transport.kill_group(pid)
        self._until(lambda: self._processes(transport, nap) == [])
        transport.kill_group(pid)

    def test_started_with_folder_and_variables(self, transport: Transport, folder: str) -> None:
        """`env` and `cwd` hold for what is started as well."""
        transport.start(["sh", "-c", 'pwd; echo "$ONE"'], log=f"{folder}/log", cwd=folder, env={"ONE": "a b"})
        self._until(lambda: transport.read_from(f"{folder}/log", 0, limit=999) == f"{folder}\na b\n".encode())

    def test_a_log_that_cannot_be_written(self, transport: Transport, folder: str) -> None:
        """A start that fails says so instead of giving a process id."""
        with pytest.raises(CommandFailedError):
            transport.start(["sleep", "1"], log=f"{folder}/none/log")

    # --- files ---------------------------------------------------------------------------------
    def test_files_go_and_come_back(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Byte for byte, under any name, with their folder made and nothing left beside them."""
        for seed, name in enumerate(self.names):
            data = noise(70_001, seed)
            (tmp_path / "sent").write_bytes(data)
            sha256 = transport.push(tmp_path / "sent", f"{folder}/new/{name}")
            assert sha256 == hashlib.sha256(data).hexdigest(), name
            transport.pull(f"{folder}/new/{name}", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == data, name
        names = transport.check(
            ["sh", "-c", 'cd "$1"; for n in * .*; do printf "%s/" "$n"; done', "sh", f"{folder}/new"]
        )
        assert sorted(set(names.text.split("/")) - {"", ".", ".."}) == sorted(self.names)

    def test_an_empty_file_is_a_file(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Nothing arrives as nothing."""
        (tmp_path / "sent").touch()
        transport.push(tmp_path / "sent", f"{folder}/empty")
        transport.pull(f"{folder}/empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    def test_a_large_file(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """More than any buffer on the way."""
        data = noise(self.file_size, seed=2)
        (tmp_path / "sent").write_bytes(data)
        transport.push(tmp_path / "sent", f"{folder}/large")
        transport.pull(f"{folder}/large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data

    def test_a_file_is_replaced_whole(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """The new file is another file: who has the old one open reads the old one to its end."""
        numbers = []
        for text in (b"old", b"new"):
            (tmp_path / "sent").write_bytes(text)
            transport.push(tmp_path / "sent", f"{folder}/file")
            transport.check(["ln", "-f", f"{folder}/file", f"{folder}/kept-{text.decode()}"])
            numbers.append(transport.check(["ls", "-i", f"{folder}/file"]).text.split()[0])
        assert numbers[0] != numbers[1]
        assert transport.check(["cat", f"{folder}/kept-old", f"{folder}/file"]).text == "oldnew"

    def test_a_folder_is_not_overwritten(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """A file does not land inside a folder of its name."""
        (tmp_path / "sent").touch()
        for remote in (folder, "no/absolute/path", f"{folder}/"):
            with pytest.raises(UsageError):
                transport.push(tmp_path / "sent", remote)
        assert transport.check(["ls", "-A", folder]).text == ""

    def test_a_missing_file_is_named(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Here it is the caller's mistake, there the device's; what lay here stays."""
        here = tmp_path / "here"
        here.mkdir()
        with pytest.raises(UsageError, match="nowhere"):
            transport.push(here / "nowhere", f"{folder}/file")
        (here / "back").write_bytes(b"kept")
        with pytest.raises(CommandFailedError, match="none") as caught:
            transport.pull(f"{folder}/none", here / "back")
        self._in_front(transport, caught.value)
        assert (here / "back").read_bytes() == b"kept"
        assert [path.name for path in here.iterdir()] == ["back"]

    def test_reading_from_an_offset(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Any part of a file, as it grows."""
        data = noise(100_000)
        (tmp_path / "sent").write_bytes(data)
        transport.push(tmp_path / "sent", f"{folder}/it's growing")
        for offset, limit in ((0, 10), (99, 1), (50_000, 40_000), (99_999, 10), (100_000, 10), (200_000, 10)):
            read = transport.read_from(f"{folder}/it's growing", offset, limit=limit)
            assert read == data[offset : offset + limit]
        assert transport.read_from(f"{folder}/none", 0, limit=10) == b""

    def test_a_full_device(self, transport: Transport, small_folder: str, tmp_path: Path) -> None:
        """No space is its own error; the old file stays, and of the new one nothing."""
        (tmp_path / "sent").write_bytes(b"old")
        transport.push(tmp_path / "sent", f"{small_folder}/file")
        (tmp_path / "sent").write_bytes(noise(4 * MIB))
        with pytest.raises(DeviceFullError) as caught:
            transport.push(tmp_path / "sent", f"{small_folder}/file")
        self._in_front(transport, caught.value)
        assert transport.check(["ls", "-A", small_folder]).text == "file\n"
        assert transport.check(["cat", f"{small_folder}/file"]).text == "old"

    # --- life ----------------------------------------------------------------------------------
    def test_own_folder(self, transport: Transport) -> None:
        """An absolute path, the same one each time."""
        assert transport.root().startswith("/")
        assert transport.root() == transport.root()

    def test_closing_twice_is_fine(self, transport: Transport) -> None:
        """And opening again works."""
        transport.close()
        transport.close()
        transport.open()
        assert transport.check(["echo", "again"]).text == "again\n"

    def test_opening_twice_is_a_mistake(self, transport: Transport) -> None:
        """The first link is not lost sight of."""
        with pytest.raises(UsageError):
            transport.open()

    def test_use_after_close(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """Each way to use it is refused, with the address in front."""
        (tmp_path / "sent").touch()
        transport.close()
        uses = (
            lambda: transport.run(["true"]),
            lambda: transport.start(["true"], log=f"{folder}/log"),
            lambda: transport.push(tmp_path / "sent", f"{folder}/file"),
            lambda: transport.pull(f"{folder}/file", tmp_path / "back"),
            lambda: transport.read_from(f"{folder}/file", 0, limit=1),
        )
        for use in uses:
            with pytest.raises(UsageError) as caught:
                use()
            self._in_front(transport, caught.value)

    def test_a_dead_device(self, transport: Transport, tmp_path: Path) -> None:
        """It is lost for commands and for files, says so each time, and can be closed."""
        (tmp_path / "sent").write_bytes(b"data")
        root = transport.root()
        self.cut(transport)
        for use in (
            lambda: transport.run(["true"]),
            lambda: transport.push(tmp_path / "sent", f"{root}/file"),
            lambda: transport.pull(f"{root}/file", tmp_path / "back"),
        ):
            with pytest.raises(DeviceLostError) as caught:
                use()
            self._in_front(transport, caught.value)
        transport.close()
        transport.close()

    # --- helpers -------------------------------------------------------------------------------
    @staticmethod
    def _in_front(transport: Transport, error: Exception) -> None:
        assert str(error).startswith(f"{transport.device.address}: ")

    @staticmethod
    def _nap() -> str:
        """Return seconds to sleep that nobody else sleeps, so that the sleeper can be found."""
        return str(10_000_000 + secrets.randbelow(80_000_000))

    @staticmethod
    def _processes(transport: Transport, nap: str) -> list[int]:
        """Return who has this nap in its command line; the looker's own pattern does not match itself."""
        pattern = f"[{nap[0]}]{nap[1:]}"
        found = transport.run(["sh", "-c", f"grep -ls '{pattern}' /proc/[0-9]*/cmdline"]).text.split()
        return [int(path.split("/")[2]) for path in found]

    def _until(self, true: object) -> None:
        """Wait until something holds, and fail when it does not come to hold."""
        assert callable(true)
        end = time.monotonic() + self.patience_s
        while not true():
            assert time.monotonic() < end, "it did not come to hold"
            time.sleep(0.05)
