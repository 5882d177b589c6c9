"""Android's own daemon: where it listens, what the fake phone is, and that nothing of it stays."""

import secrets
import socket
from pathlib import Path

import pytest

from edgekit.errors import DeviceFullError, DeviceTimeoutError
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
from edgekit.testing import adbd, adbd_fetch
from edgekit.testing.adbd_phone import BATTERY, SMALL, set_properties
from edgekit.testing.waiting import until

pytestmark = [
    pytest.mark.adb,
    pytest.mark.adbd,
    pytest.mark.parametrize("adb_server", ["bundled"], indirect=True),
]
LOOPBACK_4 = "0100007F"
LOOPBACK_4_IN_6 = "0000000000000000FFFF00000100007F"


@pytest.fixture
def phone(adb, adbd_phone):
    with open_transport(Device.parse(f"adb://{adbd_phone.serial}")) as transport:
        yield transport


@pytest.fixture
def board(adb, adbd_linux):
    with open_transport(Device.parse(f"adb://{adbd_linux.serial}")) as transport:
        yield transport


def listeners(port):
    """The addresses that a port of this machine is listened to on, as the kernel writes them."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.append(local.rpartition(":")[0])
    return found


# --- at home ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("which", ["adbd_phone", "adbd_linux"])
def test_it_listens_on_the_loopback_alone(request, which, adb_server):
    daemon = request.getfixturevalue(which)
    assert listeners(daemon.port)
    assert set(listeners(daemon.port)) <= {LOOPBACK_4, LOOPBACK_4_IN_6}
    assert daemon.port not in {5037, *range(5555, 5586)}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", daemon.port), timeout=5)


def test_it_says_what_androids_daemon_says(adb, adbd_linux, board):
    features = adb.run("-s", adbd_linux.serial, "features").split()
    assert {"shell_v2", "stat_v2", "ls_v2", "sendrecv_v2", "abb_exec"} <= set(features)


def test_stopping_ends_all_that_it_started(adb, tmp_path):
    with (
        adbd.linux_board(tmp_path) as daemon,
        open_transport(Device.parse(f"adb://{daemon.serial}")) as transport,
    ):
        transport.check(["mkdir", "-p", transport.root()])
        pid = transport.start(["sleep", "7777"], log=f"{transport.root()}/log")
        daemon.kill()
        assert Path(f"/proc/{pid}").exists(), "a pulled cable ends nothing"
        until(lambda: pid in adbd.marked_processes(f"{adbd.MARK}={daemon._mark}"))  # not before it executes
    until(lambda: b"7777" not in read(f"/proc/{pid}/cmdline"))
    adb.run("disconnect", daemon.serial)


@pytest.mark.parametrize("which", ["killed", "and there again"])
def test_a_daemon_that_a_test_killed_is_there_for_the_next(which, adb, adbd_linux):
    assert adbd_linux.running
    assert listeners(adbd_linux.port)
    if which == "killed":
        adbd_linux.kill()


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def test_a_daemon_that_cannot_start_says_why(adb_server, tmp_path):
    daemon = adbd.Adbd(["sh", "-c", "echo no such luck >&2; exit 1"], env={}, folder=tmp_path)
    with pytest.raises(RuntimeError, match="no such luck"):
        daemon.start()


# --- the phone -------------------------------------------------------------------------------------
def test_the_phone_is_androids_from_inside(phone):
    assert phone.check(["id"]).text.startswith("uid=2000(shell) gid=2000(shell)")
    assert (
        phone.check(["sh", "-c", "echo $0 $TMPDIR $HOME $PATH"]).text == "sh /data/local/tmp / /system/bin\n"
    )
    assert phone.check(["sh", "-c", "echo $KSH_VERSION"]).text.startswith("@(#)MIRBSD KSH")
    assert phone.check(["toybox", "--version"]).text.startswith("toybox 0.8")
    assert "Toybox" in phone.check(["uname", "-a"]).text


def test_the_phone_has_a_phones_tools(phone):
    assert phone.check(["tr", "a-c", "A-C"], stdin=b"abcd").text == "ABCd"
    assert phone.check(["expr", "6", "*", "7"]).text == "42\n"
    assert phone.check(["awk", "{print $2}"], stdin=b"one two").text == "two\n"
    assert phone.run(["busybox"]).exit_code == 127
    assert int(phone.check(["df", "-Pk", "/data/local/tmp"]).text.splitlines()[-1].split()[3]) > 0


@pytest.mark.parametrize(
    "path", ["/usr", "/lib", "/lib64", "/tmp", "/home", "/root", "/dev/shm", "/etc/resolv.conf"]
)
def test_the_phone_has_no_file_of_a_board(phone, path):
    assert phone.run(["ls", "-d", path]).exit_code == 1


def test_a_glibc_program_finds_no_loader_there(phone, tmp_path):
    """As on a phone; with its loader beside it, it runs."""
    kit = adbd_fetch.fetch()
    root = phone.root()
    for path in (
        kit.toybox,
        kit.loader,
        *(kit.libraries / name for name in ("libc.so.6", "libm.so.6", "libcrypt.so.1")),
    ):
        phone.push(path, f"{root}/glibc/{path.name}")
    phone.check(["chmod", "755", f"{root}/glibc/{kit.toybox.name}", f"{root}/glibc/{kit.loader.name}"])
    assert phone.run([f"{root}/glibc/toybox", "echo", "hi"]).exit_code in {126, 127}
    loader = [f"{root}/glibc/{kit.loader.name}", "--library-path", f"{root}/glibc"]
    assert phone.check([*loader, f"{root}/glibc/toybox", "echo", "hi"]).text == "hi\n"
    phone.check(["rm", "-rf", f"{root}/glibc"])


def test_properties(phone, adbd_phone):
    assert phone.check(["getprop", "ro.build.version.sdk"]).text == "34\n"
    assert phone.check(["getprop", "ro.none"]).text == "\n"
    assert phone.check(["getprop", "ro.none", "default"]).text == "default\n"
    kept = (adbd_phone.folder / "root/fixtures/getprop").read_text()
    set_properties(adbd_phone.folder / "root", {"a.b": "two words [x]: y", "c": ""})
    assert phone.check(["getprop", "a.b"]).text == "two words [x]: y\n"
    assert phone.check(["getprop"]).text == "[a.b]: [two words [x]: y]\n[c]: []\n"
    (adbd_phone.folder / "root/fixtures/getprop").write_text(kept)


def test_services(phone, adbd_phone):
    assert phone.check(["dumpsys", "battery"]).text == BATTERY
    missing = phone.run(["dumpsys", "thermalservice"])
    assert (missing.exit_code, missing.stderr) == (1, b"Can't find service: thermalservice\n")
    path = adbd_phone.folder / "root/fixtures/dumpsys/android.hardware.power.stats.IPowerStats_default"
    path.write_text("rails\n")
    assert (
        phone.check(["dumpsys", "android.hardware.power.stats.IPowerStats/default", "delta"]).text
        == "rails\n"
    )
    path.unlink()


def test_sensors_are_files_that_a_test_may_rewrite(phone, adbd_phone):
    sensor = "sys/class/power_supply/battery/current_now"
    assert phone.check(["cat", f"/{sensor}"]).text == "-11718\n"
    (adbd_phone.folder / "root" / sensor).write_text("-250000\n")
    assert phone.check(["cat", f"/{sensor}"]).text == "-250000\n"
    (adbd_phone.folder / "root" / sensor).write_text("-11718\n")
    assert phone.run(["sh", "-c", f"echo 1 >/{sensor}"]).exit_code == 1


def test_a_full_phone(phone, tmp_path):
    (tmp_path / "sent").write_bytes(secrets.token_bytes(3_000_000))
    with pytest.raises(DeviceFullError) as caught:
        phone.push(tmp_path / "sent", f"{SMALL}/file")
    assert "No space left" in caught.value.evidence
    assert phone.check(["ls", "-A", SMALL]).text == ""


# --- the phone with an ARM's programs --------------------------------------------------------------
@pytest.mark.board
class TestArmPhone:
    @pytest.fixture
    def arm(self, adb, adbd_phone_arm):
        with open_transport(Device.parse(f"adb://{adbd_phone_arm.serial}")) as transport:
            yield transport

    def test_it_is_an_arm_from_inside(self, arm):
        assert arm.check(["uname", "-m"]).text == "aarch64\n"
        assert arm.check(["getprop", "ro.product.cpu.abilist"]).text == "arm64-v8a\n"
        assert "CPU part\t: 0xd08" in arm.check(["cat", "/proc/cpuinfo"]).text
        assert arm.check(["id", "-u"]).text == "2000\n"

    def test_files_go_and_come_back(self, arm, tmp_path):
        (tmp_path / "sent").write_bytes(secrets.token_bytes(500_000))
        arm.push(tmp_path / "sent", f"{arm.root()}/it's a file")
        arm.pull(f"{arm.root()}/it's a file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()

    def test_a_deadline_leaves_nothing_running(self, arm):
        nap = str(10_000_000 + secrets.randbelow(80_000_000))
        with pytest.raises(DeviceTimeoutError):
            arm.run(["sh", "-c", f"sleep {nap} & sleep {nap}; true"], timeout_s=3.0)
        until(lambda: arm.run(["pgrep", "-f", f"^sleep {nap}"]).exit_code == 1)

    def test_what_it_needs_is_registered_for_it_alone(self, arm):
        users = Path("/proc/self/ns/user").readlink()
        assert arm.check(["readlink", "/proc/self/ns/user"]).text != f"{users}\n"
        assert arm.check(["cat", "/proc/sys/fs/binfmt_misc/qemu-aarch64"]).text.startswith("enabled\n")


# --- the board -------------------------------------------------------------------------------------
def test_the_board_has_this_machines_python(board, adbd_linux):
    assert board.root() == f"{adbd_linux.folder}/edgekit"
    result = board.check(
        ["python3", "-c", "import os, sys; print(os.getppid() > 0, sys.stdin.read())"], stdin=b"in"
    )
    assert result.text == "True in\n"


def test_a_long_command_outlives_the_daemon(board, adbd_linux):
    """A bench goes on while the cable is out, and its log is read on afterwards."""
    folder = f"{board.root()}/{secrets.token_hex(4)}"
    board.check(["mkdir", "-p", folder])
    wait = "while not os.path.exists('go'): time.sleep(0.02)"
    script = f"import os, time\nprint('one', flush=True)\n{wait}\nprint('two')"
    pid = board.start(["python3", "-c", script], log=f"{folder}/log", cwd=folder)
    until(lambda: board.read_from(f"{folder}/log", 0, limit=99) == b"one\n")
    adbd_linux.kill()
    adbd_linux.start()
    board.reopen()
    assert board.run(["kill", "-0", str(pid)]).exit_code == 0
    board.check(["touch", f"{folder}/go"])
    until(lambda: board.read_from(f"{folder}/log", 4, limit=99) == b"two\n")
    until(lambda: board.run(["kill", "-0", str(pid)]).exit_code == 1)
