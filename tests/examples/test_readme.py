"""Every command in the README runs, on real devices as far as this machine has them."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERIAL = "R5CT30AB12C"
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory, board, adbd_linux):
    """A user's folder: a network, photos, an ssh configuration that knows `board`, an adb server."""
    from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program

    desk = tmp_path_factory.mktemp("desk")
    digits = ROOT / "examples" / "digits"
    shutil.copy(digits / "digits_mobilenet_v1_0.25.keras", desk / "digits.keras")
    subprocess.run(
        [sys.executable, "-c", "import data, pathlib; data.write_folders(pathlib.Path.cwd())"],
        cwd=desk, env={"PYTHONPATH": str(digits), "PATH": ""}, check=True,
    )  # fmt: skip
    (desk / "calibrate").rename(desk / "photos")
    config = desk / "ssh_config"
    config.write_text(re.sub(r"(?m)^Host .*", "Host board", board.ssh_config.read_text()))
    path = next(filter(None, map(program, PROGRAMS)))
    (desk / "adb").mkdir()
    with PrivateAdb(path, desk / "adb") as adb, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **adb.env,
            "EDGEKIT_SSH_CONFIG": str(config),
            "EDGEKIT_STORE": str(desk / "runs.sqlite"),
        }.items():
            patch.setenv(name, value)
        adb.run("connect", adbd_linux.serial)
        yield desk, adbd_linux.serial


def test_there_are_commands():
    assert len(COMMANDS) >= 10
    assert all(line.startswith("edgekit ") for line in COMMANDS)


@pytest.mark.convert
@pytest.mark.board
@pytest.mark.adbd
def test_the_commands_run_in_their_order(desk):
    folder, serial = desk
    for line in COMMANDS:
        words = shlex.split(line.replace(SERIAL, serial))
        done = subprocess.run(
            [sys.executable, "-m", "edgekit.cli.main", *words[1:]],
            cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        allowed = {0, 3} if words[1] == "compare" else {0}  # a gate may say no
        assert done.returncode in allowed, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (folder / "report.html").stat().st_size > 100_000


def test_what_the_readme_names_exists():
    for name in re.findall(r"`(examples/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name


def test_every_command_of_the_command_line_is_in_the_readme():
    from edgekit.cli.main import build_parser

    for name in build_parser().commands():
        assert f"edgekit {name}" in README, name
