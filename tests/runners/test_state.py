"""State that is changed for a while, on three shells with their own tools and a sysfs of files."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edgekit.errors import (
    DeviceBusyError,
    DeviceUnfitError,
    StableDeviceError,
    UnknownNameError,
    UsageError,
)
from edgekit.runners.state import Change, changed, check, fixed_performance, frequency, governor, policies
from edgekit.runners.state.scripts import LIBRARY
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="watches processes by /proc")
PATIENCE_S = 60
SHELLS = {"dash": ("dash", None), "phone": ("mksh", "toybox"), "busybox": ("busybox", "busybox")}


@pytest.fixture(params=SHELLS)
def device(request, tmp_path, monkeypatch):
    """This machine as a device that has one of three shells, two of them with their own tools alone."""
    shell, box = (name and shutil.which(name) for name in SHELLS[request.param])
    if not shell or (SHELLS[request.param][1] and not box):
        pytest.skip(f"needs {request.param}'s programs")
    tools = tmp_path / "bin"
    tools.mkdir()
    if box:
        listed = subprocess.run(
            [box, "--list"] if shell == box else [box], capture_output=True, text=True, check=True
        )
        for name in {*listed.stdout.split()} - {"sh"}:
            (tools / name).symlink_to(box)
        if not (tools / "tr").exists() and shutil.which(
            "busybox"
        ):  # a phone has it, this machine's toybox may not
            (tools / "tr").symlink_to(shutil.which("busybox"))
    (tools / "sh").symlink_to(shell)
    monkeypatch.setenv("PATH", str(tools) if box else f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


@pytest.fixture
def sysfs(tmp_path):
    """A sysfs with two groups of cores, the second one faster."""
    for first, top in ((0, 1400), (4, 1800)):
        policy = tmp_path / f"sys/devices/system/cpu/cpufreq/policy{first}"
        policy.mkdir(parents=True)
        for name, value in {
            "affected_cpus": f"{first} {first + 1}",
            "scaling_available_governors": "schedutil performance ",
            "scaling_governor": "schedutil",
            "scaling_available_frequencies": f"600000 1000000 {top}000 ",
            "scaling_min_freq": "600000",
            "scaling_max_freq": f"{top}000",
            "cpuinfo_max_freq": f"{top}000",
        }.items():
            (policy / name).write_text(value + "\n")
    return tmp_path / "sys"


def value(sysfs, name, policy=0):
    return (sysfs / f"devices/system/cpu/cpufreq/policy{policy}/{name}").read_text().strip()


def state(device):
    return Path(device.root()) / "state"


def eventually(truth):
    end = time.monotonic() + PATIENCE_S
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.05)


def watchdog(device):
    """Return the process that guards this device's state, or 0."""
    told = (state(device) / "watchdog").read_text().split() if (state(device) / "watchdog").exists() else []
    return int(told[0]) if told and Path(f"/proc/{told[0]}").exists() else 0


def test_what_was_asked_for_holds_inside_and_what_was_there_holds_after(device, sysfs):
    found = policies(device, sysfs=str(sysfs))
    wanted = [*governor(found, "performance"), *frequency(found, 1000000, cpus=[1])]
    with changed(device, wanted) as guard:
        assert [value(sysfs, "scaling_governor", p) for p in (0, 4)] == ["performance"] * 2
        assert [value(sysfs, f"scaling_{end}_freq") for end in ("min", "max")] == ["1000000"] * 2
        assert value(sysfs, "scaling_max_freq", 4) == "1800000"
        guard.need_held()
        process = watchdog(device)
        assert process
    assert [value(sysfs, "scaling_governor", p) for p in (0, 4)] == ["schedutil"] * 2
    assert [value(sysfs, f"scaling_{end}_freq") for end in ("min", "max")] == ["600000", "1400000"]
    assert list(Path(device.root()).iterdir()) == []
    eventually(lambda: b"edgekit-watchdog" not in command(process))


def command(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_journal_is_there_for_its_user_alone_and_restores_in_reverse(device, sysfs):
    found = policies(device, sysfs=str(sysfs))
    path = found[0].path
    with changed(device, frequency(found, 1000000, cpus=[0])):
        journal = state(device) / "journal"
        head, *lines = journal.read_text().splitlines()
        assert (journal.stat().st_mode & 0o777, journal.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert head.split("|")[0] == "edgekit-state 1"
    assert head.split("|")[3] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert lines == [
        f"change|file|{path}/scaling_max_freq|1400000|1000000|.",
        f"change|file|{path}/scaling_min_freq|600000|1000000|.",
        "end",
    ]


def test_an_error_inside_restores_too(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    with pytest.raises(ZeroDivisionError), changed(device, wanted):
        raise ZeroDivisionError
    assert value(sysfs, "scaling_governor") == "schedutil"
    assert not state(device).exists()


def test_nothing_asked_for_touches_nothing(device):
    with changed(device, []):
        assert not Path(device.root()).exists()


def test_a_value_that_does_not_take_undoes_all(device, sysfs):
    deaf = sysfs / "devices/system/cpu/cpufreq/policy4/scaling_governor"
    deaf.unlink()
    deaf.symlink_to("/dev/null")
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    pattern = (
        r"^local://: the governor of the CPUs 4, 5 could not be set to 'performance': it is '' after that"
    )
    with pytest.raises(StableDeviceError, match=pattern), changed(device, wanted):
        raise AssertionError
    assert value(sysfs, "scaling_governor") == "schedutil"
    assert not state(device).exists()


def test_a_value_that_is_refused_undoes_all(device, sysfs):
    good = governor(policies(device, sysfs=str(sysfs)), "performance")
    bad = Change(kind="setting", name="global/x", value="1", label="a setting")
    program = Path(os.environ["PATH"].split(":")[0]) / "settings"
    program.write_text("#!/bin/sh\n[ $1 = get ] || { echo no way >&2; exit 3; }\n")
    program.chmod(0o755)
    pattern = "a setting could not be set to '1': it answered 'no way'"
    with pytest.raises(StableDeviceError, match=pattern), changed(device, [*good, bad]):
        raise AssertionError
    assert value(sysfs, "scaling_governor") == "schedutil"


def test_what_did_not_hold_is_told_at_the_end_and_restored(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    pattern = "of the CPUs 0, 1 did not stay 'performance': it was 'powersave'"
    with pytest.raises(StableDeviceError, match=pattern), changed(device, wanted):
        (sysfs / "devices/system/cpu/cpufreq/policy0/scaling_governor").write_text("powersave\n")
    assert value(sysfs, "scaling_governor") == "schedutil"


def test_what_can_not_be_restored_is_told_with_the_command_and_kept(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    path = Path(wanted[0].name)
    pattern = rf"{path} is unreadable, it was schedutil: run there: echo schedutil > {path}; then: edgekit"
    with pytest.raises(StableDeviceError, match=pattern), changed(device, wanted):
        path.unlink() or path.mkdir()
    assert value(sysfs, "scaling_governor", 4) == "schedutil"
    assert (state(device) / "journal").exists()
    os.kill(watchdog(device), 9)


def spoil(path):
    path.unlink()
    path.mkdir()
    raise UsageError("a mistake", hint="mend it")


def test_an_error_inside_does_not_hide_what_could_not_be_restored(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    path = Path(wanted[0].name)
    pattern = f"a mistake: mend it; and then .* echo schedutil > {path}"
    with pytest.raises(UsageError, match=pattern) as told, changed(device, wanted):
        spoil(path)
    assert "could not be restored" in told.value.__notes__[0]
    os.kill(watchdog(device), 9)


def test_the_second_one_is_refused(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    with changed(device, wanted):
        with pytest.raises(DeviceBusyError, match="changed by somebody else"), changed(device, wanted):
            raise AssertionError
        assert value(sysfs, "scaling_governor") == "performance"
    assert value(sysfs, "scaling_governor") == "schedutil"


def test_a_host_that_is_there_is_not_taken_for_gone_whatever_the_clock_says(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    with changed(device, wanted, heartbeat_s=1) as guard:
        end = time.monotonic() + 5.5
        while time.monotonic() < end:
            for name in ("beat", "journal", "watchdog"):  # what a stepped clock makes of files
                if (state(device) / name).exists():
                    os.utime(state(device) / name, (1, 1) if time.monotonic() % 2 < 1 else (4e9, 4e9))
            time.sleep(0.2)
        guard.need_held()
        assert value(sysfs, "scaling_governor") == "performance"
    assert value(sysfs, "scaling_governor") == "schedutil"


def test_a_watchdog_that_dies_is_started_again(device, sysfs):
    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    with changed(device, wanted, heartbeat_s=0.5):
        first = watchdog(device)
        os.kill(first, 9)
        eventually(lambda: watchdog(device) not in (0, first))
        assert value(sysfs, "scaling_governor") == "performance"
    assert value(sysfs, "scaling_governor") == "schedutil"


def test_a_host_whose_link_is_cut_finds_its_state_given_back(device, sysfs):
    def no_link():
        raise StableDeviceError("local://", "no second link")

    wanted = governor(policies(device, sysfs=str(sysfs)), "performance")
    middle = pytest.raises(StableDeviceError, match="given back in the middle")
    with middle, changed(device, wanted, heartbeat_s=0.2, link=no_link):
        eventually(lambda: value(sysfs, "scaling_governor") == "schedutil")
        eventually(lambda: not state(device).exists())


def test_wrong_calls_are_refused_before_anything_is_written(device, sysfs):
    found = policies(device, sysfs=str(sysfs))
    twice = [*governor(found, "performance"), *governor(found, "schedutil")]
    with pytest.raises(UsageError, match="shall have two values"):
        check(device, twice)
    with pytest.raises(UnknownNameError, match="unknown governor 'perfomance': did you mean 'performance'"):
        governor(found, "perfomance")
    with pytest.raises(UsageError, match="is none"), changed(device, twice[:1], heartbeat_s=0):
        raise AssertionError
    gone = Change(kind="file", name=f"{sysfs}/no/such", value="1", label="a thing")
    with pytest.raises(DeviceUnfitError, match=r"^local://: a thing can't be read there: .*leave it out"):
        check(device, [gone])
    with pytest.raises(
        DeviceUnfitError, match="fixed performance can't be read there: there is no program cmd: that is"
    ):
        check(device, fixed_performance())
    assert not Path(device.root()).exists()


@pytest.mark.parametrize("change", [
    {"kind": "fil"}, {"value": ""}, {"value": "a|b"}, {"value": "a\nb"}, {"value": "-n"},
    {"name": "relative"}, {"kind": "setting"}, {"value": "x" * 300},
])  # fmt: skip
def test_what_a_journal_can_not_hold_is_no_change(change):
    with pytest.raises(UsageError):
        Change(**{"kind": "file", "name": "/sys/x", "value": "1", "label": "x", **change})


def test_no_script_asks_the_wall_clock():
    for word in ("date", "stat -c", " -nt ", " -ot ", "find ", "touch "):
        assert word not in LIBRARY
