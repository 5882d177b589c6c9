"""Governors and frequencies: what a device has, what may be asked for, and in which order it is set."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import (
    DeviceBusyError,
    DeviceUnfitError,
    ProtocolError,
    StableDeviceError,
    UnknownNameError,
    UsageError,
)
from edgekit.runners.state import (
    Change,
    Policy,
    changed,
    check,
    fixed_performance,
    frequency,
    governor,
    parse_khz,
    policies,
    screen,
)
from edgekit.runners.state.change import by_hand
from edgekit.runners.state.clocks import refuse_capped
from edgekit.runners.state.told import ask, need_restored
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

LITTLE = Policy(
    path="/sys/p0", cpus=(0, 1, 2, 3), governors=("schedutil", "performance"), governor="schedutil",
    khz=(600000, 1400000), min_khz=600000, max_khz=1400000, top_khz=1400000,
)  # fmt: skip
BIG = Policy(
    path="/sys/p4", cpus=(4, 5), governors=("performance",), governor="performance",
    khz=(), min_khz=800000, max_khz=2000000, top_khz=2400000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "khz"),
    [("1400000", 1400000), ("1400MHz", 1400000), ("1.4 GHz", 1400000), ("600 mhz", 600000), ("9kHz", 9)],
)
def test_a_frequency_reads_in_any_unit(text, khz):
    assert parse_khz(text) == khz


@pytest.mark.parametrize("text", ["", "fast", "-1", "0", "1400 m", "1,4GHz", "1e6", "9999GHz", "nan"])
def test_what_is_no_frequency_is_refused(text):
    with pytest.raises(UsageError, match="is no frequency: write 1400MHz"):
        parse_khz(text)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000))
def test_the_lowest_clock_never_passes_the_highest_on_the_way_there_and_back(one, other, wanted):
    low, high = sorted((one, other))
    policy = Policy(
        path="/p", cpus=(0,), governors=(), governor="", khz=(), min_khz=low, max_khz=high, top_khz=3000
    )
    now = {"scaling_min_freq": low, "scaling_max_freq": high}
    changes = frequency([policy], wanted)
    undo = [(change.name, now[change.name.rpartition("/")[2]]) for change in reversed(changes)]
    for name, value in [*((change.name, int(change.value)) for change in changes), *undo]:
        now[name.rpartition("/")[2]] = value
        assert now["scaling_min_freq"] <= now["scaling_max_freq"]
    assert (now["scaling_min_freq"], now["scaling_max_freq"]) == (low, high)


def test_only_the_groups_that_are_used_are_set():
    names = [change.name for change in governor([LITTLE, BIG], "performance", cpus=[5])]
    assert names == ["/sys/p4/scaling_governor"]
    assert len(frequency([LITTLE, BIG], 1400000)) == 4
    with pytest.raises(UnknownNameError, match="unknown governor 'schedutil': known: performance"):
        governor([LITTLE, BIG], "schedutil")
    assert governor([LITTLE, BIG], "schedutil", cpus=[0, 1])[0].label == "the governor of the CPUs 0, 1, 2, 3"


@pytest.mark.parametrize(
    ("khz", "said"),
    [
        (1000000, "the CPUs 0, 1, 2, 3 can't run at 1000 MHz: choose one of: 600, 1400 MHz"),
        (0, "can't run at 0 MHz"),
    ],
)
def test_a_frequency_that_a_group_lacks_is_refused(khz, said):
    with pytest.raises(UsageError, match=said):
        frequency([LITTLE, BIG], khz)
    with pytest.raises(
        UsageError, match="the CPUs 4, 5 can't run at 2500 MHz: choose one of: up to 2400 MHz"
    ):
        frequency([BIG], 2500000)


def write(root, first, **files):
    folder = root / f"devices/system/cpu/cpufreq/policy{first}"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def test_what_a_driver_does_not_tell_is_left_open(local, tmp_path):
    write(tmp_path, 10, affected_cpus="10", scaling_governor="powersave", cpuinfo_max_freq="5000000")
    write(
        tmp_path,
        2,
        affected_cpus="2 3",
        scaling_boost_frequencies="2000",
        scaling_available_frequencies="1000",
    )
    first, second = policies(local, sysfs=str(tmp_path))
    assert (first.cpus, first.khz, first.governors, first.max_khz) == ((2, 3), (1000, 2000), (), 0)
    assert (second.cpus, second.khz, second.top_khz, second.cooling) == ((10,), (), 5000000, "")


def test_a_clock_that_is_capped_is_not_taken_for_the_users_own(local, tmp_path):
    write(tmp_path, 0, affected_cpus="0", scaling_max_freq="600000")
    cooler = tmp_path / "class/thermal/cooling_device0"
    cooler.mkdir(parents=True)
    (cooler / "type").write_text("cpufreq-cpu0\n")
    (cooler / "cur_state").write_text("0\n")
    refuse_capped(policies(local, sysfs=str(tmp_path)), "local://")
    (cooler / "cur_state").write_text("3\n")
    found = policies(local, sysfs=str(tmp_path))
    with pytest.raises(StableDeviceError, match=r"capped right now \(cpufreq-cpu0 at step 3\).*--cooldown"):
        refuse_capped(found, "local://")


def test_a_machine_without_clocks_and_one_that_chatters_are_told(local, tmp_path, monkeypatch):
    with pytest.raises(
        DeviceUnfitError, match=r"^local://: its clocks can't be set: there is no .*policy\*: leave"
    ):
        policies(local, sysfs=str(tmp_path))
    chatty = tmp_path / "bin"
    chatty.mkdir()
    (chatty / "sh").write_text('#!/bin/sh\necho Welcome\nexec /bin/sh "$@"\n')
    (chatty / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{chatty}:{os.environ['PATH']}")
    with pytest.raises(ProtocolError, match="what its clocks are can't be read: 'Welcome'"):
        policies(local, sysfs=str(tmp_path))
    with pytest.raises(ProtocolError, match="what it told of its state can't be read: 'Welcome'"):
        ask(local, "echo nothing")


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs root and setpriv")
def test_a_login_that_may_not_is_told_so_before_anything_is_written(tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").write_text('#!/bin/sh\nexec setpriv --reuid 65534 --clear-groups /bin/sh "$@"\n')
    (tools / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tempfile.TemporaryDirectory() as place, open_transport(Device.parse("local://")) as device:
        Path(place).chmod(0o755)
        value = Path(place) / "scaling_governor"
        value.write_text("schedutil\n")
        wanted = [Change(kind="file", name=str(value), value="performance", label="the governor")]
        pattern = rf"^local://: the governor can.t be changed by this login: {value} is not writable for it"
        with pytest.raises(StableDeviceError, match=pattern):
            check(device, wanted)
        with pytest.raises(StableDeviceError), changed(device, wanted):
            raise AssertionError
        assert value.read_text() == "schedutil\n"
    assert not (tmp_path / "cache").exists()


def test_of_many_who_reach_for_a_state_at_once_one_gets_it(local, tmp_path):
    value, got, go = tmp_path / "value", [], threading.Barrier(4)
    value.write_text("old\n")

    def reach(number):
        wanted = [Change(kind="file", name=str(value), value=f"new{number}", label="it")]
        with open_transport(local.device) as transport:
            go.wait()
            try:
                with changed(transport, wanted):
                    got.append(value.read_text().strip() == f"new{number}")
                    done.wait(60)
            except DeviceBusyError:
                busy.release()

    done, busy = threading.Event(), threading.Semaphore(0)
    threads = [threading.Thread(target=reach, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        assert busy.acquire(timeout=60)
    done.set()
    for thread in threads:
        thread.join()
    assert (got, value.read_text()) == ([True], "old\n")


def test_each_kind_has_a_command_to_do_it_by_hand(local):
    assert [
        by_hand(c.kind, c.name, c.value) for c in (*screen("on"), *screen("off"), *fixed_performance())
    ] == [
        "settings put global stay_on_while_plugged_in 7",
        "settings put system screen_off_timeout 2147483647",
        "input keyevent 224",
        "input keyevent 223",
        "cmd power set-fixed-performance-mode-enabled true",
    ]
    assert by_hand("setting", "global/x", "null") == "settings delete global x"
    told = ask(local, "echo 'failed|screen||off|on'; echo 'failed|setting|system/t|5|7'")
    pattern = (
        "the screen is on, it was off; system/t is 7, it was 5: run there: input keyevent 223 && settings put"
    )
    with pytest.raises(StableDeviceError, match=pattern):
        need_restored(local, told)
    with pytest.raises(UnknownNameError, match="unknown state of a screen 'of': did you mean"):
        screen("of")
