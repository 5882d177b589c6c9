"""Which adb is taken, whose server it talks to, and what its states and texts stand for."""

import socket
import stat
import threading

import pytest

from edgekit.errors import DeviceLostError, DeviceRefusedError, DeviceTimeoutError, UsageError
from edgekit.runners.transport import adb_client
from edgekit.runners.transport.adb import AdbTransport
from edgekit.runners.transport.adb_client import AdbClient, Reply, bundled_adb, find_adb, server_version
from edgekit.targets import Device

SERIAL = "R5CT1234"


class FakeServer:
    """An adb server that lists what it is told to and refuses everything else.

    Its protocol: four hexadecimal digits of length, then a service; OKAY and a payload with its length come
    back, or FAIL and a message.
    """

    def __init__(self, *, version=41, listed=""):
        self.version = version
        self.listed = listed
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self):
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link, link.makefile("rb") as source:
                service = source.read(int(source.read(4) or b"0", 16)).decode()
                self.asked.append(service)
                link.sendall(self._answer(service))

    def _answer(self, service):
        if service == "host:version":
            return b"OKAY" + sized(b"%04x" % self.version)
        if service.startswith("host:devices"):
            return b"OKAY" + sized(self.listed.encode())
        return b"FAIL" + sized(b"not here")


def sized(data):
    return b"%04x" % len(data) + data


@pytest.fixture
def server(monkeypatch, adb_server, tmp_path):
    """Yield a fake server that the adb program in turn talks to."""
    with FakeServer() as fake:
        for name, value in {**adb_server.env, "HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(fake.port))
        yield fake


def client(program="adb", serial=SERIAL):
    return AdbClient(program, serial=serial, address=f"adb://{serial}")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# --- which program ---------------------------------------------------------------------------------
def test_the_one_that_is_named_comes_first(monkeypatch, tmp_path):
    named = script(tmp_path / "my-adb", "true")
    monkeypatch.setenv("EDGEKIT_ADB", named)
    assert find_adb() == named


@pytest.mark.parametrize("name", ["missing", "plain"])
def test_what_is_named_and_no_program_is_refused(monkeypatch, tmp_path, name):
    (tmp_path / "plain").write_text("text")
    monkeypatch.setenv("EDGEKIT_ADB", str(tmp_path / name))
    with pytest.raises(UsageError, match="is no program"):
        find_adb()


def test_then_the_path_then_the_bundled_one(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKIT_ADB", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if not bundled_adb():
        pytest.skip("adbutils is not installed: pip install adbutils")
    assert find_adb() == bundled_adb()
    on_path = script(tmp_path / "adb", "true")
    assert find_adb() == on_path


def test_no_adb_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKIT_ADB", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(adb_client.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"apt install adb, or pip install 'edgekit-sdk\[adb\]'"):
        find_adb()


# --- whose server ----------------------------------------------------------------------------------
@pytest.mark.adb
def test_a_server_of_another_version_is_not_killed(server, adb_server):
    server.version = 40
    transport = AdbTransport(Device.parse(f"adb://{SERIAL}"))
    with pytest.raises(UsageError, match="speaks version 40") as caught:
        transport.open()
    assert "EDGEKIT_ADB" in caught.value.hint
    assert set(server.asked) == {"host:version"}


@pytest.mark.adb
def test_a_private_servers_port_is_honoured(adb):
    assert server_version() == 41


@pytest.mark.parametrize("answer", [b"", b"OKAY", b"FAIL0004nope", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_adb_server_has_no_version(monkeypatch, answer):
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listener.getsockname()[1]))

    def once():
        link, _ = listener.accept()
        with link:
            link.recv(64)
            link.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    assert server_version() is None
    thread.join()
    listener.close()


def test_a_server_elsewhere_is_not_asked(monkeypatch):
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:192.0.2.1:5037")
    assert server_version() is None


# --- states ----------------------------------------------------------------------------------------
@pytest.mark.adb
@pytest.mark.parametrize(
    ("listed", "error", "text"),
    [
        ("", DeviceLostError, "adb lists no such device"),
        (f"{SERIAL}2\tdevice\n", DeviceLostError, f"adb lists {SERIAL}2"),
        (f"{SERIAL}\toffline\n", DeviceLostError, "the device is offline"),
        (f"{SERIAL}\tconnecting\n", DeviceLostError, "does not come up"),
        (f"{SERIAL}\tauthorizing\n", DeviceLostError, "does not come up"),
        (f"{SERIAL}\tunauthorized\n", DeviceRefusedError, "accept the dialog on the phone"),
        (
            f"{SERIAL}\tno permissions (user in plugdev group); see [http://x]\n",
            DeviceRefusedError,
            "plugdev",
        ),
        (f"{SERIAL}\trecovery\n", DeviceRefusedError, "in recovery mode: start its system"),
        (f"{SERIAL}\tbootloader\n", DeviceRefusedError, "in bootloader mode"),
        (f"{SERIAL}\tdevice\n", DeviceLostError, "no command answers"),
        (f"OTHER\tdevice\n{SERIAL}\tunauthorized\n", DeviceRefusedError, "not authorized"),
    ],
)
def test_each_state_has_its_error(server, listed, error, text):
    server.listed = listed
    transport = AdbTransport(Device.parse(f"adb://{SERIAL}"))
    transport.settle_s, transport.probe_s = 0.2, 1.0
    with pytest.raises(error, match=text) as caught:
        transport.open()
    assert str(caught.value).startswith(f"adb://{SERIAL}: ")
    assert not any("kill" in service or "tcpip" in service for service in server.asked)


@pytest.mark.parametrize(
    ("serial", "networked"),
    [
        (SERIAL, False),
        ("emulator-5554", False),
        ("adb-R5CT-abc._adb-tls-connect._tcp", False),
        ("10.0.0.7:5555", True),
        ("phone.lan:37123", True),
        ("[fe80::1]:5555", True),
    ],
)
def test_what_can_be_connected_to(serial, networked):
    assert client(serial=serial).networked is networked


# --- texts -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stderr", "error", "text"),
    [
        (b"", DeviceLostError, "the link died before the command's end: check the cable"),
        (b"adb: device offline\n", DeviceLostError, r"\(adb: device offline\)"),
        (b"error: closed\n", DeviceLostError, r"\(adb: error: closed\)"),
        (b"adb: device unauthorized.\nThis adb server's ...\n", DeviceRefusedError, "accept the dialog"),
        (
            b"adb server version (40) doesn't match this client (41); killing...\n* daemon started\n",
            DeviceLostError,
            "two adb programs of different versions fight for the server: set EDGEKIT_ADB",
        ),
    ],
)
def test_what_adb_says_of_a_lost_command(stderr, error, text):
    raised = client().lost(Reply(exit_code=0, stdout=b"half", stderr=stderr))
    assert type(raised) is error
    with pytest.raises(error, match=text):
        raise raised
    assert "half" in raised.evidence


def test_start_up_lines_are_no_evidence():
    reply = Reply(
        exit_code=0, stdout=b"out\n", stderr=b"* daemon not running; starting now at tcp:1\n\nwhy\n"
    )
    assert reply.text == "out\nwhy"


def test_a_program_that_is_no_adb(tmp_path):
    with pytest.raises(UsageError, match="is no adb program"):
        client(script(tmp_path / "adb", "echo hello")).check_server()


def test_the_serial_is_always_given(tmp_path, monkeypatch):
    monkeypatch.setenv("ANDROID_SERIAL", "ANOTHER")
    program = script(tmp_path / "adb", 'echo "$*"; echo "$ADB_COMPRESSION"; cat')
    assert client(program).call("shell", "true").stdout == f"-s {SERIAL} shell true\n0\n".encode()
    assert client(program).call("shell", stdin=b"in").stdout.endswith(b"0\nin")


def test_a_call_has_a_deadline_and_its_program_is_gone_then(tmp_path):
    program = script(tmp_path / "adb", f"echo $$ >{tmp_path}/pid; exec sleep 77")
    with pytest.raises(DeviceTimeoutError, match=r"no answer to adb devices within 0.5 s"):
        client(program).call("devices", timeout_s=0.5)
    pid = (tmp_path / "pid").read_text().strip()
    with pytest.raises(ProcessLookupError):
        adb_client.os.kill(int(pid), 0)


def test_a_server_that_keeps_the_pipes_does_not_keep_us(tmp_path):
    program = script(tmp_path / "adb", f"sleep 5 & echo $! >{tmp_path}/pid; sleep 5")
    with pytest.raises(DeviceTimeoutError):
        client(program).call("devices", timeout_s=0.2)
    adb_client.os.kill(int((tmp_path / "pid").read_text()), 9)
