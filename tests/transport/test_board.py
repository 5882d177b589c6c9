"""The test board is what it says: aarch64, clean at each start, gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing import board as board_module
from edgekit.testing import board_root
from edgekit.testing.board import Board, main, unavailable
from edgekit.testing.ssh_files import answers

if TYPE_CHECKING:
    from pathlib import Path

needs_board = pytest.mark.skipif(bool(unavailable()), reason=unavailable())


def on(board: Board, user: str = "root") -> SshTransport:
    return SshTransport(Device.parse(board.address_of(user)), config=board.ssh_config)


@pytest.mark.board
@pytest.mark.parametrize(("user", "home"), [("root", "/root"), ("pi", "/home/pi")])
def test_it_is_an_arm_board(board: Board, user: str, home: str) -> None:
    with on(board, user) as transport:
        assert transport.check(["uname", "-m"]).text == "aarch64\n"
        script = "import platform; print(platform.machine(), platform.python_version_tuple()[:2])"
        assert transport.check(["python3", "-c", script]).text == "aarch64 ('3', '11')\n"
        assert "CPU part\t: 0xd08" in transport.check(["cat", "/proc/cpuinfo"]).text
        assert transport.root() == f"{home}/.edgekit"
        assert transport.check(["whoami"]).text == f"{user}\n"
        assert transport.run(["touch", "/sys/file"]).exit_code != 0
        assert len(transport.check(["ps", "ax"]).text.splitlines()) < 30  # its own processes alone


@pytest.mark.board
@needs_board
def test_each_start_is_clean_and_nothing_stays() -> None:
    keys = []
    for _ in range(2):
        with Board(user="pi") as board, on(board, "") as transport:
            assert transport.run(["ls", "kept"]).exit_code != 0
            transport.check(["touch", "kept"])
            keys.append(board.identity.read_text())
            transport.start(["sleep", "12345678"], log="/tmp/log")
        assert not answers(board.port)
        assert not board.ssh_config.exists()
        board.stop()
    assert keys[0] != keys[1]
    found = subprocess.run(["pgrep", "-f", "sleep 1234567[8]"], capture_output=True, check=False)
    assert found.stdout == b""


@pytest.mark.board
@needs_board
def test_it_ends_with_who_started_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from edgekit.testing.board import Board\n"
        "board = Board(); board.start(); print(board.port, board.ssh_config.parent, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    port, folder = done.stdout.decode().split()
    end = time.monotonic() + 20
    while answers(int(port)):
        assert time.monotonic() < end, "the board outlived its owner"
        time.sleep(0.05)
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.mark.board
@needs_board
def test_one_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(board_module, "_STATE", str(tmp_path / "up.json"))
    assert main(["up"]) == 0
    port = int(capsys.readouterr().out.split("port:")[1].split()[0])
    try:
        assert answers(port)
        assert main(["up"]) == 0
        assert "it runs already" in capsys.readouterr().out
        assert main(["where"]) == 0
        assert str(port) in capsys.readouterr().out
    finally:
        assert main(["down"]) == 0
    assert not answers(port)
    assert main(["down"]) == 0
    assert "no board runs" in capsys.readouterr().out


def test_the_program_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert "build|up|down|where" in capsys.readouterr().err


def test_why_it_cannot_run_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in unavailable()
    assert main(["build"]) == 1
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(board_module, "_may_mount", lambda: True)
    monkeypatch.setattr(board_module, "_HANDLER", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(board_root, "mirror", lambda: "http://mirror.invalid/debian")
    if "kernel" not in unavailable():
        packages = "qemu-user-static openssh-client mmdebstrap"
        assert unavailable() == f"not installed: apt-get install --no-install-recommends {packages}"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert unavailable() == "the board needs Linux"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list.d/debian.sources",
            (
                "Types: deb\n# URIs: http://wrong\nURIs: http://m/security\nSuites: bookworm-security\n\n"
                "Types: deb\nURIs: http://m/debian http://n/debian\nSuites: bookworm bookworm-updates\n"
            ),
        ),
        (
            "sources.list",
            "# deb http://wrong bookworm main\ndeb [arch=amd64 trusted=yes] http://m/debian bookworm main\n",
        ),
        (
            "sources.list.d/a.list",
            "deb http://wrong trixie main\ndeb http://m/debian bookworm main contrib\n",
        ),
    ],
)
def test_the_mirror_is_the_machines_own(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    assert board_root.mirror(tmp_path) == ""
    (tmp_path / name).write_text(text)
    assert board_root.mirror(tmp_path) == "http://m/debian"


def test_another_recipe_is_another_root(monkeypatch: pytest.MonkeyPatch) -> None:
    before = board_root.root_folder()
    monkeypatch.setattr(board_root, "PACKAGES", (*board_root.PACKAGES, "more"))
    assert board_root.root_folder() != before
