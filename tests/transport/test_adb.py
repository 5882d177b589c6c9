"""What can happen to an adb link, with real adb programs and a double at the other end."""

import concurrent.futures
import secrets
import time

import pytest

from edgekit.errors import (
    CommandFailedError,
    DeviceLostError,
    DeviceRefusedError,
    UsageError,
)
from edgekit.runners.transport.adb import LINE_LIMIT, AdbTransport, shell_line
from edgekit.targets import Device
from edgekit.testing import processes
from edgekit.testing.adb_double import FEATURES, AdbDouble
from edgekit.testing.adb_wire import Fault
from edgekit.testing.ports import free_port
from edgekit.testing.push_contract import counted
from edgekit.testing.waiting import until

pytestmark = pytest.mark.adb
PATIENCE_S = 20.0


def transport_to(serial):
    """A transport that loses patience sooner than a user's."""
    transport = AdbTransport(Device.parse(f"adb://{serial}"))
    transport.settle_s, transport.probe_s = 3.0, 1.5
    return transport


@pytest.fixture
def phone(adb_double):
    return adb_double


@pytest.fixture
def transport(phone):
    with transport_to(phone.serial) as transport:
        yield transport


@pytest.fixture
def sent(tmp_path):
    path = tmp_path / "sent"
    path.write_bytes(secrets.token_bytes(300_000))
    return path


def sleepers(nap):
    """The processes of this machine that sleep for `nap` seconds."""
    return [pid for pid, line in processes.told("cmdline") if line.startswith(f"sleep\0{nap}\0".encode())]


def error_of(transport, phone, happening, nap="30"):
    """Run a command, let something happen in the middle of it, return the error."""
    ready = phone.root / "ready"
    script = f"echo early; touch {ready}; sleep {nap}; echo late"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(transport.run, ["sh", "-c", script], timeout_s=PATIENCE_S)
        until(ready.exists)
        happening()
        return running.exception(timeout=PATIENCE_S)


# --- the link dies in the middle of a command ------------------------------------------------------
def test_the_daemon_dies_in_the_middle_of_a_command(transport, phone):
    error = error_of(transport, phone, phone.stop)
    assert type(error) is DeviceLostError
    assert str(error).startswith(f"{transport.device.address}: the link died before the command's end")


def test_a_stranger_kills_the_server(transport, phone, adb):
    error = error_of(transport, phone, lambda: adb.run("kill-server"))
    assert type(error) is DeviceLostError
    transport.reopen()
    assert transport.check(["echo", "back"]).text == "back\n"


def test_a_stranger_disconnects(transport, phone, adb):
    error = error_of(transport, phone, lambda: adb.run("disconnect", phone.serial))
    assert type(error) is DeviceLostError
    transport.reopen()
    assert transport.check(["echo", "back"]).text == "back\n"


def test_a_lost_link_leaves_nothing_running(transport, phone):
    nap = str(10_000_000 + secrets.randbelow(80_000_000))
    error_of(transport, phone, phone.cut, nap=nap)
    until(lambda: sleepers(nap) == [])


def test_the_end_is_missing_in_the_middle_of_the_output(transport, phone):
    phone.spoil(Fault(after=200_000))
    with pytest.raises(DeviceLostError):
        transport.run(["head", "-c", "4000000", "/dev/zero"])


def test_an_output_with_marks_in_it_is_left_alone(transport):
    assert transport.check(["printf", "0123456789abcdef:0\\n"]).stdout == b"0123456789abcdef:0\n"
    listed = transport.check(["cat", "/proc/self/cmdline", "/proc/self/environ"])
    assert listed.exit_code == 0
    assert b"EDGEKIT_MARK=" in listed.stdout


def test_the_cable_is_pulled_and_put_back(transport, phone):
    transport.check(["true"])
    phone.cut()
    transport.reopen()
    assert transport.check(["echo", "back"]).text == "back\n"


def test_the_daemon_restarts_and_adb_says_already_connected(transport, phone):
    phone.stop()
    with pytest.raises(DeviceLostError):
        transport.run(["true"])
    phone.start()
    transport.reopen()
    assert transport.check(["echo", "back"]).text == "back\n"


# --- in the middle of a file -----------------------------------------------------------------------
def test_the_daemon_dies_in_the_middle_of_a_push(transport, phone, sent):
    """What arrived is gone on with when the link is back."""
    remote = f"{transport.root()}/file"
    sent.write_bytes(secrets.token_bytes(4_000_000))
    transport.check(["mkdir", "-p", transport.root()])
    phone.spoil(Fault(after=2_500_000))
    with pytest.raises(DeviceLostError):
        transport.push(sent, remote)
    phone.spoil(Fault())
    (part,) = (phone.root / "edgekit").iterdir()
    transport.reopen()
    with counted(transport) as offsets:
        transport.push(sent, remote)
    assert offsets[0] > 0
    assert (phone.root / "edgekit/file").read_bytes() == sent.read_bytes()
    assert not part.exists()


def test_the_daemon_dies_in_the_middle_of_a_pull(transport, phone, sent, tmp_path):
    remote = f"{transport.root()}/file"
    transport.push(sent, remote)
    (tmp_path / "back").write_bytes(b"kept")
    phone.spoil(Fault(after=150_000))
    with pytest.raises(DeviceLostError):
        transport.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"kept"
    assert not (tmp_path / "back.part").exists()


def test_a_device_that_lies_about_a_sum(transport, phone, sent):
    phone.shim("sha256sum", f"cat >/dev/null; echo {'0' * 64} -")
    with pytest.raises(DeviceLostError, match="arrived changed"):
        transport.push(sent, f"{transport.root()}/file")
    assert list((phone.root / "edgekit").iterdir()) == []


def test_a_path_that_no_line_can_hold(transport, sent):
    with pytest.raises(UsageError, match="the path is too long"):
        transport.push(sent, f"{transport.root()}/{'/'.join(['f' * 200] * 10)}/file")


def test_a_host_folder_that_is_not_there(transport, sent, tmp_path):
    transport.push(sent, f"{transport.root()}/file")
    with pytest.raises(UsageError):
        transport.pull(f"{transport.root()}/file", tmp_path / "none" / "file")


# --- a link that stands still ----------------------------------------------------------------------
def test_a_stalled_command(transport, phone):
    phone.spoil(Fault(after=1, action="stall"))
    with pytest.raises(DeviceLostError, match="may still run there") as caught:
        transport.run(["true"], timeout_s=0.5)
    assert "no answer to adb shell within 0.5 s" in caught.value.evidence
    start = time.monotonic()
    with pytest.raises(DeviceLostError, match="no command answers"):
        transport.run(["true"], timeout_s=PATIENCE_S)
    assert time.monotonic() - start < PATIENCE_S / 2, "a link known to be dead was tried again"


def test_a_stalled_link_is_made_anew(transport, phone, adb):
    phone.spoil(Fault(after=1, action="stall"))
    with pytest.raises(DeviceLostError):
        transport.run(["true"], timeout_s=0.5)
    assert f"{phone.serial}\tdevice" in adb.run("devices"), "adb says that all is well"
    phone.fault = Fault()
    transport.reopen()
    assert transport.check(["echo", "back"]).text == "back\n"


def test_a_stalled_push(transport, phone, sent):
    phone.spoil(Fault(after=150_000, action="stall"))
    with pytest.raises(DeviceLostError, match="may still run there") as caught:
        transport.push(sent, f"{transport.root()}/file", timeout_s=1.0)
    assert "no answer to adb shell within 1 s" in caught.value.evidence


def test_one_byte_at_a_time(transport, phone, tmp_path):
    phone.spoil(Fault(chunk=1))
    assert transport.check(["cat"], stdin=b"slow\0\xff").stdout == b"slow\0\xff"
    (tmp_path / "sent").write_bytes(b"data" * 50)
    transport.push(tmp_path / "sent", f"{transport.root()}/file")
    transport.pull(f"{transport.root()}/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"data" * 50


# --- who gets in -----------------------------------------------------------------------------------
def test_an_unauthorized_computer(phone):
    phone.auth = "deny"
    transport = transport_to(phone.serial)
    transport.settle_s = 0.5
    with pytest.raises(DeviceRefusedError, match="accept the dialog on the phone"):
        transport.open()


def test_an_accepted_key_is_known_from_then_on(phone, adb):
    phone.auth = "accept"
    with transport_to(phone.serial) as transport:
        transport.check(["true"])
    assert len(phone.keys) == 1
    adb.run("disconnect", phone.serial)
    phone.auth = "deny"
    with transport_to(phone.serial) as transport:
        assert transport.check(["echo", "signed"]).text == "signed\n"


def test_a_phone_before_android_7(phone):
    phone.features = tuple(name for name in FEATURES if name != "shell_v2")
    with pytest.raises(DeviceRefusedError, match="Android 7 or later"):
        transport_to(phone.serial).open()


def test_nobody_listens(adb):
    transport = transport_to(f"127.0.0.1:{free_port()}")
    with pytest.raises(DeviceLostError, match="adb lists no such device") as caught:
        transport.open()
    assert "refused" in caught.value.evidence.lower()


def test_a_serial_that_is_not_listed(adb, transport, phone):
    with pytest.raises(DeviceLostError, match="adb lists no such device") as caught:
        transport_to("NOSUCHSERIAL").open()
    assert phone.serial in caught.value.hint


def test_two_devices_at_once(transport, phone, tmp_path):
    root = tmp_path / "second"
    root.mkdir()
    with AdbDouble(root) as second, transport_to(second.serial) as other:
        assert other.check(["sh", "-c", "echo $HOME"]).text == f"{root}\n"
        assert transport.check(["sh", "-c", "echo $HOME"]).text == f"{phone.root}\n"


# --- lines -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [LINE_LIMIT - 200, LINE_LIMIT, 5000, 100_000])
def test_long_arguments_and_input(transport, size):
    text = "x" * (size - 1) + "\n"
    result = transport.check(["sh", "-c", 'cat; printf %s "$1"', "sh", text], stdin=b"input\n" * 3)
    assert result.text == "input\n" * 3 + text


def test_a_long_command_reads_its_head_from_the_input():
    short, nothing = shell_line("exec true", "ab12")
    long, head = shell_line("exec true " + "y" * LINE_LIMIT, "ab12")
    assert nothing == b""
    assert "exec true" in short
    assert len(long) < 300
    assert head == b"exec true " + b"y" * LINE_LIMIT + b"\nab12\n"


# --- its own folder --------------------------------------------------------------------------------
def test_the_folder_of_a_closed_transport_is_known_and_of_an_unopened_one_is_not(transport, phone):
    transport.close()
    assert transport.root() == f"{phone.root}/edgekit"
    with pytest.raises(UsageError, match="never open"):
        transport_to(phone.serial).root()


# --- a phone's own shell ---------------------------------------------------------------------------
@pytest.mark.adbd
@pytest.mark.parametrize("adb_server", ["bundled"], indirect=True)
class TestPhone:
    @pytest.fixture
    def transport(self, adb, adbd_phone):
        with transport_to(adbd_phone.serial) as transport:
            yield transport

    def test_it_is_the_user_shell_with_a_folder_of_its_own(self, transport):
        assert transport.check(["id", "-u"]).text == "2000\n"
        assert transport.root() == "/data/local/tmp/edgekit"

    def test_where_nobody_may_write(self, transport, sent):
        with pytest.raises(CommandFailedError, match="Permission denied"):
            transport.push(sent, "/system/file")

    def test_what_a_phone_lacks(self, transport):
        assert transport.run(["which", "python3"]).exit_code == 1
        assert transport.run(["python3", "-V"]).exit_code == 127

    def test_the_daemon_dies_in_the_middle_of_a_push(self, transport, adbd_phone, sent):
        """Whenever it dies, what arrived is gone on with, and the whole file is right in the end."""
        folder = f"{transport.root()}/{secrets.token_hex(4)}"
        sent.write_bytes(secrets.token_bytes(40_000_000))
        there = adbd_phone.folder / "root" / folder[1:]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(transport.push, sent, f"{folder}/file")
            until(lambda: there.is_dir() and any(path.stat().st_size for path in there.glob(".*.part")))
            adbd_phone.kill()
            assert type(running.exception(timeout=PATIENCE_S)) is DeviceLostError
        adbd_phone.start()
        transport.reopen()
        with counted(transport) as offsets:
            transport.push(sent, f"{folder}/file")
        assert offsets[0] > 0
        assert (there / "file").read_bytes() == sent.read_bytes()
        assert [path.name for path in there.iterdir()] == ["file"]
        transport.check(["rm", "-rf", folder])

    def test_the_daemon_dies_in_the_middle_of_a_command(self, transport, adbd_phone):
        nap = str(10_000_000 + secrets.randbelow(80_000_000))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(transport.run, ["sh", "-c", f"sleep {nap}; echo late"])
            until(lambda: sleepers(nap))
            adbd_phone.kill()
            assert type(running.exception(timeout=PATIENCE_S)) is DeviceLostError
        adbd_phone.start()
        transport.reopen()
        assert transport.check(["echo", "back"]).text == "back\n"
