"""SSH links that stall, die or never come to be: each is told for what it is, and in time."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from edgekit.errors import DeviceLostError, DeviceTimeoutError, DeviceUnfitError, UsageError
from edgekit.runners.transport.ssh import SshTransport, _Greeting
from edgekit.targets import Device
from edgekit.testing.board import Board, unavailable
from edgekit.testing.ports import free_port
from edgekit.testing.push_contract import counted
from edgekit.testing.ssh_double import SshDouble, SshFaults
from edgekit.testing.sshd import Sshd, sshd_program
from edgekit.testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_sshd = pytest.mark.skipif(not sshd_program(), reason="sshd is not installed")


@pytest.fixture
def double() -> Iterator[SshDouble]:
    with SshDouble() as double:
        config = double.files.config
        config.write_text(config.read_text() + "    ConnectTimeout 1\n")
        yield double


def transport_to(double: SshDouble) -> SshTransport:
    return SshTransport(Device.parse(double.files.address), config=double.files.config)


@pytest.mark.parametrize("stage", ["banner", "auth"])
def test_a_stalled_connection_ends_in_time(double: SshDouble, stage: str) -> None:
    double.faults = SshFaults(stalls=stage)
    transport = transport_to(double)
    start = time.monotonic()
    with pytest.raises(DeviceTimeoutError, match=f"no answer from 127.0.0.1:{double.files.port} within 1 s"):
        transport.open()
    assert time.monotonic() - start < 20
    with pytest.raises(UsageError, match="closed"):
        transport.run(["true"])


@pytest.mark.parametrize("stage", ["session", "exec"])
def test_a_stalled_command_ends_in_time(
    double: SshDouble, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killing stalls as well, so nothing can be promised: the device is lost."""
    monkeypatch.setattr("edgekit.runners.transport.base.DEFAULT_TIMEOUT_S", 1.0)
    double.faults = SshFaults(stalls=stage)
    with transport_to(double) as transport, pytest.raises(DeviceLostError, match="may still run there"):
        transport.run(["true"], timeout_s=0.5)


def test_a_link_that_dies_in_a_file(double: SshDouble, tmp_path: Path) -> None:
    """Half of it is there under another name; after the link is back the file goes through."""
    (tmp_path / "sent").write_bytes(bytes(3_000_000))
    with transport_to(double) as transport:
        remote = f"{transport.root()}/file"
        transport.push(tmp_path / "sent", remote)
        (tmp_path / "sent").write_bytes(b"1" * 3_000_000)
        double.faults = SshFaults(dies_after_bytes=1_000_000)
        for move in (transport.push, lambda local, there: transport.pull(there, local.with_name("back"))):
            with pytest.raises(DeviceLostError, match="the link died before the command's end"):
                move(tmp_path / "sent", remote)
            transport.reopen()
        assert transport.check(["head", "-c", "5", remote]).stdout == bytes(5)
        assert [path.name for path in tmp_path.iterdir()] == ["sent"]
        double.faults = SshFaults()
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", remote)
        assert 900_000 < offsets[0] < 1_100_000
        assert transport.check(["head", "-c", "5", remote]).stdout == b"11111"
        assert transport.check(["ls", "-A", transport.root()]).text == "file\n"


@needs_sshd
def test_a_server_that_dies_in_a_file(tmp_path: Path) -> None:
    """OpenSSH's sessions are killed while it comes in; a new one goes on where they stopped."""
    (tmp_path / "sent").write_bytes(secrets.token_bytes(40_000_000))
    with (
        Sshd() as sshd,
        SshTransport(Device.parse(sshd.files.address), config=sshd.files.config) as transport,
        ThreadPoolExecutor(1) as pool,
    ):
        folder = sshd.home / ".edgekit"
        running = pool.submit(transport.push, tmp_path / "sent", f"{transport.root()}/file")
        until(lambda: folder.is_dir() and any(path.stat().st_size for path in folder.glob(".*.part")))
        sshd.cut_sessions()
        assert type(running.exception(timeout=30)) is DeviceLostError
        transport.reopen()
        with counted(transport) as offsets:
            transport.push(tmp_path / "sent", f"{transport.root()}/file")
        assert offsets[0] > 0
        assert (folder / "file").read_bytes() == (tmp_path / "sent").read_bytes()
        assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_lost_link_stays_lost_until_opened_again(double: SshDouble) -> None:
    with transport_to(double) as transport:
        double.faults = SshFaults(dies_after_bytes=10)
        for _ in range(2):
            with pytest.raises(DeviceLostError):
                transport.run(["echo", "more than ten bytes"])
        double.faults = SshFaults()
        transport.reopen()
        assert transport.check(["echo", "back"]).text == "back\n"


def test_a_command_that_takes_its_shell_along(double: SshDouble) -> None:
    """No exit code came, and the link still stands: that is said."""
    with transport_to(double) as transport:
        with pytest.raises(DeviceLostError, match="the device gave no exit code"):
            transport.run(["sh", "-c", "kill -9 $PPID"])
        transport.check(["true"])


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT interrupt: a shell's background jobs, as CI may be one, are started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_command_there(double: SshDouble) -> None:
    nap = "12345679"
    with transport_to(double) as transport:
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            transport.run(["sleep", nap])
        timer.join()
        looked = transport.run(["sh", "-c", "grep -ls '[1]2345679' /proc/[0-9]*/cmdline"])
    assert looked.stdout == b""


def test_several_threads_share_a_link(double: SshDouble) -> None:
    """A probe samples while a bench runs: each command has its own streams."""
    with transport_to(double) as transport, ThreadPoolExecutor(4) as pool:
        data = [bytes([number]) * 200_000 for number in range(8)]
        results = pool.map(lambda one: transport.check(["cat"], stdin=one).stdout, data)
        assert list(results) == data


@needs_sshd
def test_a_login_that_talks_is_not_taken_for_the_command(tmp_path: Path) -> None:
    with (
        Sshd() as sshd,
        SshTransport(Device.parse(sshd.files.address), config=sshd.files.config) as transport,
    ):
        if b"bash" not in transport.check(["sh", "-c", "readlink /proc/$PPID/exe"]).stdout:
            pytest.skip("only bash reads a start-up file for a command over ssh")
        (sshd.home / ".bashrc").write_text("echo Welcome to your board\necho 'more on stderr' >&2\n")
        result = transport.check(["echo", "hello"])
        assert result.stdout == b"hello\n"
        assert b"more on stderr" in result.stderr  # else the start-up file was not read at all
        (tmp_path / "sent").write_bytes(b"data")
        transport.push(tmp_path / "sent", f"{transport.root()}/file")
        transport.pull(f"{transport.root()}/file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"data"


@needs_sshd
def test_a_login_without_a_shell_is_unfit() -> None:
    with Sshd(more="ForceCommand echo This account is not available.; exit 1") as sshd:
        transport = SshTransport(Device.parse(sshd.files.address), config=sshd.files.config)
        with (
            transport,
            pytest.raises(DeviceUnfitError, match=r"runs no commands \(exit code 1\): This account"),
        ):
            transport.run(["true"])


def test_where_nothing_listens() -> None:
    port = free_port()
    with pytest.raises(
        DeviceLostError, match=f"^ssh://127.0.0.1:{port}: nothing listens on 127.0.0.1:{port}"
    ):
        SshTransport(Device.parse(f"ssh://127.0.0.1:{port}")).open()


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(DeviceLostError, match=r"no\.such\.host\.invalid is no known host name"):
        SshTransport(Device.parse("ssh://no.such.host.invalid")).open()


def test_no_thread_is_left(double: SshDouble) -> None:
    double.stop()
    before = set(threading.enumerate())
    with SshDouble() as fresh:
        with transport_to(fresh) as transport:
            transport.check(["cat"], stdin=b"x" * 100_000)
        mine = [thread for thread in threading.enumerate() if thread not in before]
        assert not [thread for thread in mine if "_feed" in thread.name or "_read_err" in thread.name]
    end = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < end, "a thread is left"
        time.sleep(0.02)


# --- ways that lead over others --------------------------------------------------------------------
@pytest.fixture
def jump(tmp_path: Path) -> Iterator[tuple[Sshd, Sshd, Path]]:
    """Yield a jump host, a device behind it, and the configuration that knows both."""
    with Sshd() as first, Sshd() as second:
        text = f"Host {second.files.alias}\n    ProxyJump {first.files.alias}\n"
        config = tmp_path / "config"
        config.write_text(text + first.files.config.read_text() + second.files.config.read_text())
        yield first, second, config


@needs_sshd
def test_a_jump_host_leads_on(jump: tuple[Sshd, Sshd, Path]) -> None:
    first, second, config = jump
    with SshTransport(Device.parse(second.files.address), config=config) as transport:
        assert transport.check(["sh", "-c", "echo $HOME"]).text == f"{second.home}\n"
        first.cut()
        with pytest.raises(DeviceLostError):
            transport.run(["true"])


@needs_sshd
def test_a_jump_host_that_will_not() -> None:
    """It takes the login and refuses the way on."""
    with Sshd(more="AllowTcpForwarding no") as first, Sshd() as second:
        config = first.files.folder / "both"
        text = f"Host {second.files.alias}\n    ProxyJump {first.files.alias}\n"
        config.write_text(text + first.files.config.read_text() + second.files.config.read_text())
        with pytest.raises(DeviceLostError, match=f"^{second.files.address}: no SSH link to 127.0.0.1"):
            SshTransport(Device.parse(second.files.address), config=config).open()


@needs_sshd
def test_a_proxy_command_is_the_link(jump: tuple[Sshd, Sshd, Path]) -> None:
    first, second, config = jump
    text = (
        second.files.config.read_text()
        + f"    ProxyCommand ssh -F {first.files.config} -W %h:%p {first.files.alias}\n"
    )
    config.write_text(text)
    with SshTransport(Device.parse(second.files.address), config=config) as transport:
        data = bytes(range(256)) * 1000
        assert transport.check(["cat"], stdin=data).stdout == data


def test_a_proxy_command_that_ends(double: SshDouble) -> None:
    config = double.files.config
    config.write_text(config.read_text() + "    ProxyCommand true\n")
    with pytest.raises(DeviceLostError, match="no SSH link"):
        transport_to(double).open()


@pytest.mark.board
@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_a_board_that_loses_power() -> None:
    with Board() as board, SshTransport(Device.parse(board.address), config=board.ssh_config) as transport:
        assert transport.check(["uname", "-m"]).text == "aarch64\n"
        assert board.process is not None
        board.process.kill()
        with pytest.raises(DeviceLostError):
            transport.run(["sleep", "60"])


def test_the_first_command_tells_the_home(double: SshDouble) -> None:
    with (
        transport_to(double) as transport,
        mock.patch.object(transport, "_stream", wraps=transport._stream) as trips,
    ):
        assert transport.known_root() == ""
        assert transport.check(["printf", "a\nb"]).stdout == b"a\nb"
        assert transport.known_root() == transport.root() == f"{double.home}/.edgekit"
        assert trips.call_count == 1


@pytest.mark.parametrize(
    ("told", "home"),
    [("/home/pi", "/home/pi"), ("/home/pi/", "/home/pi"), ("", ""), ("relative", ""), ("/" + "x" * 5000, "")],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_greeting_is_read_in_any_pieces(told: str, home: str, step: int) -> None:
    heard: list[bytes] = []
    greeting = _Greeting("00ff", heard.append)
    whole = f"Welcome 00f\n00ff{told}\n/out\nput".encode()
    for start in range(0, len(whole), step):
        greeting.take(whole[start : start + step])
    assert greeting.heard
    assert (greeting.home, b"".join(heard)) == (home, b"/out\nput")
