"""State that is changed on a phone: mksh and toybox as the user `shell`, over a real adbd."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from edgekit.errors import StableDeviceError, TransientDeviceError
from edgekit.runners.conditions import host_conditions
from edgekit.runners.depot import Depot
from edgekit.runners.state import (
    changed,
    check,
    fixed_performance,
    frequency,
    governor,
    policies,
    recover,
    screen,
)
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

pytestmark = [
    pytest.mark.adb,
    pytest.mark.adbd,
    pytest.mark.parametrize("adb_server", ["bundled"], indirect=True),
]
PATIENCE_S = 60
KEPT = "/data/local/tmp/kept"
PROGRAMS = {
    "settings": f"""
f={KEPT}/$2.$3
case $1 in
  get) cat "$f" 2>/dev/null || echo null ;;
  put) echo "$4" >"$f" ;;
  delete) rm "$f" ;;
esac
""",
    "input": f"""
case $2 in 223) s=Asleep ;; 224) s=Awake ;; *) exit 1 ;; esac
echo "POWER MANAGER (dumpsys power)
  mWakefulness=$s" >{KEPT}/power
""",
    "cmd": f"""
[ "$1 $2" = 'power set-fixed-performance-mode-enabled' ] || exit 1
[ ! -e {KEPT}/no-hal ] || {{ echo 'Failed to set FIXED_PERFORMANCE mode' >&2; exit 255; }}
echo "$3" >{KEPT}/fixed
""",
}
HOST = """
import sys, time
from edgekit.runners.state import changed, fixed_performance, screen
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
with open_transport(Device.parse(sys.argv[1])) as transport:
    with changed(transport, [*fixed_performance(), *screen("on")], heartbeat_s=0.7):
        print("changed", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def root(adbd_phone):
    """The phone's root, as the host sees it, with Android's programs for its state in it."""
    root = adbd_phone.folder / "root"
    kept, power = root / KEPT[1:], root / "fixtures/dumpsys/power"
    kept.mkdir()
    kept.chmod(0o777)
    for name, script in PROGRAMS.items():
        (root / "system/bin" / name).write_text(f"#!/system/bin/sh{script}")
        (root / "system/bin" / name).chmod(0o755)
    power.symlink_to(f"{KEPT}/power")
    (kept / "power").write_text("  mWakefulness=Asleep\n")
    (kept / "power").chmod(0o666)
    (kept / "system.screen_off_timeout").write_text("60000\n")
    (kept / "system.screen_off_timeout").chmod(0o666)
    yield root
    shutil.rmtree(kept)
    power.unlink()
    for name in PROGRAMS:
        (root / "system/bin" / name).unlink()


@pytest.fixture
def phone(adb, adbd_phone, root):
    if not adbd_phone.running:
        adbd_phone.start()
    with open_transport(Device.parse(f"adb://{adbd_phone.serial}")) as transport:
        yield transport
        Depot(transport).clean()


def kept(root):
    """What the phone has: wakefulness, screen timeout, staying on, fixed performance."""
    names = ("power", "system.screen_off_timeout", "global.stay_on_while_plugged_in", "fixed")
    paths = [root / KEPT[1:] / name for name in names]
    return [path.read_text().split()[-1].split("=")[-1] if path.exists() else None for path in paths]


def eventually(truth):
    end = time.monotonic() + PATIENCE_S
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.1)


ON = ["Awake", "2147483647", "7", "true"]


def test_the_screen_and_fixed_performance_last_as_long_as_asked(phone, root):
    with changed(phone, [*fixed_performance(), *screen("on")]):
        assert kept(root) == ON
    assert kept(root) == ["Asleep", "60000", None, "false"]
    with changed(phone, screen("off")):
        assert kept(root)[0] == "Asleep"
    assert kept(root)[:3] == ["Asleep", "60000", None]


def test_a_mode_that_the_phone_refuses_undoes_all(phone, root):
    (root / KEPT[1:] / "no-hal").touch()
    pattern = (
        "fixed performance could not be set to 'true': it answered 'Failed to set FIXED_PERFORMANCE mode'"
    )
    refused = [*screen("on"), *fixed_performance()]
    with pytest.raises(StableDeviceError, match=pattern), changed(phone, refused):
        raise AssertionError
    (root / KEPT[1:] / "no-hal").unlink()
    recover(phone, force=True)
    assert kept(root)[:3] == ["Asleep", "60000", None]


def test_a_host_that_is_killed_or_unplugged_is_missed(phone, root, adbd_phone):
    address = phone.device.address
    for end in ("kill", "unplug"):
        process = subprocess.Popen([sys.executable, "-c", HOST, address], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "changed\n"
            assert kept(root) == ON
            if end == "unplug":
                adbd_phone.kill()
            process.send_signal(signal.SIGKILL if end == "kill" else signal.SIGSTOP)
            eventually(lambda: kept(root) == ["Asleep", "60000", None, "false"])
        finally:
            process.kill()
            process.communicate()
    adbd_phone.start()
    eventually(lambda: answers(phone))


def answers(phone):
    try:
        phone.reopen()
        return phone.run(["true"]).exit_code == 0
    except TransientDeviceError:
        return False


def test_a_governor_needs_root_and_says_so(phone, root):
    policy = root / "sys/devices/system/cpu/cpufreq/policy0"
    policy.mkdir(parents=True)
    try:
        for name, value in (
            ("affected_cpus", "0 1"),
            ("scaling_available_governors", "walt performance"),
            ("scaling_governor", "walt"),
            ("scaling_available_frequencies", "300000 1800000"),
            ("scaling_min_freq", "300000"),
            ("scaling_max_freq", "1800000"),
            ("cpuinfo_max_freq", "1800000"),
        ):
            (policy / name).write_text(f"{value}\n")
        found = policies(phone)
        assert (found[0].cpus, found[0].khz) == ((0, 1), (300000, 1800000))
        pattern = "the governor of the CPUs 0, 1 can't be changed by this login: .*: run adb root"
        with pytest.raises(StableDeviceError, match=pattern):
            check(phone, governor(found, "performance"))
        for path in policy.iterdir():  # as on a phone where adb is root
            path.chmod(0o666)
        with changed(phone, [*governor(found, "performance"), *frequency(found, 300000)]):
            assert (policy / "scaling_governor").read_text() == "performance\n"
            assert (policy / "scaling_max_freq").read_text() == "300000\n"
        assert (policy / "scaling_governor").read_text() == "walt\n"
        assert (policy / "scaling_max_freq").read_text() == "1800000\n"
    finally:
        shutil.rmtree(policy.parent)


def test_what_its_services_tell_is_asked_before_and_after(phone, root):
    told = host_conditions(phone)
    assert (told["plugged"], told["power_status"], told["battery_percent"]) == (True, "charging", 85)
