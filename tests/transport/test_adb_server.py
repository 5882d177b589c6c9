"""A private adb server is private, and what real adb programs do that makes their word worth nothing."""

import concurrent.futures
import os
import subprocess
from pathlib import Path

import pytest

from edgekit.testing.adb_double import FEATURES, AdbDouble
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program
from edgekit.testing.adb_wire import Fault
from edgekit.testing.ports import free_port, listens
from edgekit.testing.waiting import until

pytestmark = pytest.mark.adb


@pytest.fixture
def connected(adb, adb_double):
    adb.run("connect", adb_double.serial)
    until(lambda: adb.run("-s", adb_double.serial, "get-state") == "device")
    return adb_double


def raw(adb, *words, timeout=20):
    """Run adb as anybody would; return its exit code and its standard output."""
    done = subprocess.run(
        [adb.path, *words],
        env={**os.environ, **adb.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout


# --- privacy ---------------------------------------------------------------------------------------
def test_keys_and_logs_stay_in_its_home(adb, connected):
    assert (adb.home / ".android" / "adbkey").is_file()
    assert adb.env["HOME"] == str(adb.home)


def test_it_is_far_from_the_users_server(adb):
    assert adb.port not in {5037, *range(5555, 5586)}
    assert listens(adb.port)
    assert "emulator" not in adb.run("devices")


@pytest.mark.parametrize("name", PROGRAMS)
def test_stopping_ends_the_server_and_the_one_in_its_place(name, tmp_path):
    path = program(name)
    if not path:
        pytest.skip(f"there is no {name} adb: apt install adb, pip install adbutils")
    server = PrivateAdb(path, tmp_path)
    with server:
        server.run("kill-server")
        until(lambda: not listens(server.port))
        server.run("devices")  # starts one by itself
        assert listens(server.port)
    until(lambda: not listens(server.port))
    server.stop()


def test_a_program_that_is_no_server(tmp_path):
    with pytest.raises(TimeoutError, match="does not come up"):
        PrivateAdb("/bin/false", tmp_path).start()


def test_a_free_port_is_free():
    port = free_port()
    assert not listens(port)
    assert port >= 1024


# --- why exit codes and texts are not believed -----------------------------------------------------
def test_the_exit_code_of_a_lost_command(adb, connected):
    """adb 29 says 0, later ones 255; either is what a command may end with by itself."""
    ready = connected.root / "ready"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            raw, adb, "-s", connected.serial, "shell", f"echo half; touch {ready}; sleep 30"
        )
        until(ready.exists)
        connected.cut()
        code, out = running.result(timeout=20)
    assert code in {0, 255}
    assert out in {b"", b"half\n"}


def test_connecting_to_nobody_is_a_success(adb):
    code, out = raw(adb, "connect", f"127.0.0.1:{free_port()}")
    assert code in {0, 1}
    assert b"refused" in out.lower()


def test_connecting_to_who_does_not_let_us_in(adb, adb_double):
    adb_double.auth = "deny"
    _, out = raw(adb, "connect", adb_double.serial)
    assert b"failed to authenticate" in out
    assert f"{adb_double.serial}\tunauthorized" in adb.run("devices")


def test_a_stalled_device_is_called_a_device(adb, connected):
    connected.spoil(Fault(after=1, action="stall"))
    with pytest.raises(subprocess.TimeoutExpired):
        raw(adb, "-s", connected.serial, "shell", "true", timeout=1)
    assert adb.run("-s", connected.serial, "get-state") == "device"


def test_an_old_phone_has_no_exit_codes(adb, adb_double):
    adb_double.features = tuple(name for name in FEATURES if name != "shell_v2")
    adb.run("connect", adb_double.serial)
    until(lambda: adb.run("-s", adb_double.serial, "get-state") == "device")
    assert raw(adb, "-s", adb_double.serial, "shell", "echo out; echo err >&2; exit 7") == (0, b"out\nerr\n")


def test_an_orphan_of_a_plain_adb_command_lives_on(adb, connected):
    """What the transport's line is for: adbd hangs up on the shell alone."""
    pid_file = connected.root / "pid"
    command = f"sh -c 'echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60'; true"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(raw, adb, "-s", connected.serial, "shell", command)
        until(pid_file.exists)
        adb.run("disconnect", connected.serial)
        running.result(timeout=20)
    orphan = int(pid_file.read_text())
    assert b"sleep" in Path(f"/proc/{orphan}/cmdline").read_bytes()
    os.kill(orphan, 9)


def test_two_programs_share_one_devices_word(tmp_path):
    """Each adb that is installed gets the same from the same double."""
    paths = [path for path in map(program, PROGRAMS) if path]
    (tmp_path / "phone").mkdir()
    answers = []
    with AdbDouble(tmp_path / "phone") as double:
        for number, path in enumerate(paths):
            home = tmp_path / f"home{number}"
            home.mkdir()
            with PrivateAdb(path, home) as server:
                server.run("connect", double.serial)
                until(lambda server=server: server.run("-s", double.serial, "get-state") == "device")
                answers.append(raw(server, "-s", double.serial, "shell", "echo $HOME; exit 3"))
    assert answers == [(3, f"{tmp_path / 'phone'}\n".encode())] * len(paths)
