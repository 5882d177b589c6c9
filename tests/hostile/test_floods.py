"""Devices that never stop talking: the host hears so much and no more, and then says so."""

import subprocess
import sys
import tracemalloc

import pytest

from edgekit.errors import DeviceUnfitError, ProtocolError
from edgekit.runners.transport import bounded, open_transport
from edgekit.runners.transport.bounded import FloodError, Output, communicate
from edgekit.targets import Device
from edgekit.testing.ssh_double import SshDouble
from edgekit.testing.sshd import Sshd, sshd_program

MOST = 3 << 20
FLOODS = ["exec yes", "exec yes >&2", "yes & yes >&2"]


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    """Less is enough to be too much here."""
    monkeypatch.setattr(bounded, "MAX_OUTPUT_BYTES", MOST)
    monkeypatch.setattr("edgekit.runners.transport.ssh.MAX_OUTPUT_BYTES", MOST)


def refused(transport, script):
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="said more than 3 MiB"):
            transport.run(["sh", "-c", script], timeout_s=60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MOST
    assert transport.run(["echo", "well"]).text == "well\n"


@pytest.mark.parametrize("script", FLOODS)
@pytest.mark.parametrize("kind", [SshDouble, Sshd])
def test_a_flood_over_ssh_is_ended(kind, script, monkeypatch):
    if kind is Sshd and not sshd_program():
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    with kind() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.files.config))
        with open_transport(Device.parse(server.files.address)) as transport:
            refused(transport, script)


@pytest.mark.parametrize("script", FLOODS)
def test_a_flood_of_this_machine_is_ended(script):
    with open_transport(Device.parse("local://")) as transport:
        refused(transport, script)


@pytest.mark.adb
@pytest.mark.parametrize("adb_server", ["system"], indirect=True)
@pytest.mark.parametrize("script", FLOODS)
def test_a_flood_over_adb_is_ended(adb, adb_double, script):
    adb.run("connect", adb_double.serial)
    with open_transport(Device.parse(f"adb://{adb_double.serial}")) as transport:
        refused(transport, script)


def test_a_login_that_greets_for_ever_is_no_shell(monkeypatch):
    """Nothing of it is our word, so nobody waits for that."""
    with SshDouble() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.files.config))
        monkeypatch.setattr("edgekit.runners.transport.ssh.encoded", lambda _: b"yes no shell")
        with (
            pytest.raises((ProtocolError, DeviceUnfitError)),
            open_transport(Device.parse(server.files.address)) as transport,
        ):
            transport.run(["true"], timeout_s=60)


# --- the reader itself ------------------------------------------------------------------------------------
def started(code, *, data=False):
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe if data else None, stdout=pipe, stderr=pipe
    )


def test_both_outputs_come_whole():
    code = (
        "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d); sys.stderr.write(str(len(d)))"
    )
    data = bytes(range(256)) * 4000
    with started(code, data=True) as process:
        assert communicate(process, data, 60) == (data, b"1024000")
    assert process.returncode == 0


def test_input_that_nobody_reads_is_left():
    with started("import os; os.close(0); print(5)", data=True) as process:
        assert communicate(process, b"x" * 1_000_000, 60) == (b"5\n", b"")


def test_a_deadline_is_kept():
    with started("import time; time.sleep(600)") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            communicate(process, None, 0.2)
        process.kill()


def test_a_deadline_after_the_input_leaves_a_process_that_can_be_waited_for():
    with started("import sys, time; sys.stdin.read(); time.sleep(600)", data=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            communicate(process, b"x", 0.5)
        process.kill()
        assert process.communicate(timeout=60) == (b"", b"")


def test_a_process_that_says_too_much_is_left_to_its_caller():
    with started("while True: print('y' * 1000)") as process:
        with pytest.raises(FloodError):
            communicate(process, None, 60)
        assert process.poll() is None
        process.kill()


def test_so_much_is_taken_and_no_more():
    output = Output()
    output.take(b"x" * MOST)
    assert len(output.whole()) == MOST
    with pytest.raises(FloodError):
        output.take(b"x")
    assert len(output.whole()) == MOST
