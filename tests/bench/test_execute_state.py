"""A bench that changes its device's state, waits until it is cool, and asks its system before and after."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.bench.cooldown import Cooldown
from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.state import DeviceState
from edgekit.errors import UnknownNameError
from edgekit.runners.state import recover
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

PATIENCE_S = 60


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """Let this machine have Android's programs: a screen, and a CPU that cools by 4 degrees a look."""
    folder, kept = tmp_path / "bin", tmp_path / "kept"
    folder.mkdir()
    kept.mkdir()
    programs = {
        "getprop": "",
        "settings": f"""
case $1 in
  get) cat {kept}/$3 2>/dev/null || echo null ;;
  put) echo "$4" >{kept}/$3 ;;
  delete) rm {kept}/$3 ;;
esac""",
        "input": f"if [ $2 = 223 ]; then echo Asleep; else echo Awake; fi >{kept}/screen",
        "dumpsys": f"""
case $1 in
  power) echo "mWakefulness=$(cat {kept}/screen)" ;;
  thermalservice)
    hot=$(cat {kept}/hot); echo $((hot - 4)) >{kept}/hot
    echo "Thermal Status: $(cat {kept}/status 2>/dev/null || echo 0)
Current temperatures from HAL:
	Temperature{{mValue=$hot.5, mType=0, mName=BIG, mStatus=0}}" ;;
esac""",
    }
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    for name, text in (("screen", "Asleep"), ("hot", "53"), ("screen_off_timeout", "60000")):
        (kept / name).write_text(f"{text}\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return kept


@pytest.fixture
def plan(tmp_path):
    """Plan a bare file on this machine with the null runtime and a state."""

    def make(**state):
        path = tmp_path / "bare.tflite"
        path.write_bytes(b"nothing is computed")
        return make_plan([path], ["local://"], runtime="null", runs=20, state=DeviceState(**state))

    return make


def screen(kept):
    return (kept / "screen").read_text().strip()


def test_the_screen_is_on_while_it_runs_and_off_again_after(phone, plan):
    seen = []
    result = execute(plan(screen="on"), None, on_progress=lambda at: seen.append((at.phase, screen(phone))))
    assert result.failed == ()
    assert {now for phase, now in seen if phase == "run"} == {"Awake"}
    assert screen(phone) == "Asleep"
    assert (phone / "screen_off_timeout").read_text() == "60000\n"
    assert result.runs[0].plan["screen"] == "on"


def test_it_runs_once_it_is_cool_and_keeps_how_that_went(phone, plan):
    seen = []
    wanted = plan(cooldown=Cooldown(celsius=46, timeout_s=60))
    result = execute(wanted, None, on_progress=lambda at: seen.append(str(at)))
    before = result.runs[0].conditions[0]
    assert (before["when"], before["pass"], before["own_load1"]) == ("before", "host", 0.0)
    assert {key: before["cooldown"][key] for key in ("zone", "from_c", "to_c")} == {
        "zone": "BIG", "from_c": 53.5, "to_c": 45.5,
    }  # fmt: skip
    assert "local://: cooling bare.tflite (1 of 1): BIG at 49.5 C" in seen
    assert result.runs[0].plan["cooldown_c"] == 46


def test_a_device_that_does_not_cool_down_does_not_run(phone, plan):
    (phone / "hot").write_text("900\n")
    result = execute(plan(cooldown=Cooldown(celsius=20, timeout_s=0.5)), None)
    assert result.runs == ()
    assert "tells no temperature of its CPU" in result.failed[0].error  # 900 degrees are no temperature
    (phone / "hot").write_text("90\n")
    result = execute(plan(cooldown=Cooldown(celsius=20, timeout_s=0.5)), None)
    assert result.runs == ()
    assert "BIG is at 90.5 C after 0.5 s, not at 20 C" in result.failed[0].error


def test_a_phone_that_is_throttled_before_or_after_says_so_in_the_record(phone, plan):
    (phone / "status").write_text("3\n")
    result = execute(plan(), None)
    first, *_, last = result.runs[0].conditions
    assert [(c["pass"], c["when"], c["throttled"]) for c in (first, last)] == [
        ("host", "before", "thermal status severe"),
        ("host", "after", "thermal status severe"),
    ]


def test_what_can_not_be_changed_is_one_line_before_anything_is_brought(tmp_path, monkeypatch, plan):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if Path("/sys/devices/system/cpu/cpufreq/policy0").is_dir():
        pytest.skip("the clocks of this machine could be set")
    result = execute(plan(governor="performance"), None)
    assert [failure.kind for failure in result.failed] == ["DeviceUnfitError"]
    assert "its clocks can't be set" in result.failed[0].error
    result = execute(plan(screen="on"), None)
    assert "can't be read there" in result.failed[0].error
    assert not (tmp_path / "cache/edgekit/device/store").exists()


def test_a_fake_device_has_no_state(tmp_path):
    path = tmp_path / "bare.tflite"
    path.write_bytes(b"nothing")
    result = execute(make_plan([path], ["fake://"], state=DeviceState(governor="performance")), None)
    assert "a fake device has no state of its own" in result.failed[0].error


def test_a_screen_is_on_or_off():
    with pytest.raises(UnknownNameError, match="unknown state of a screen 'dim'"):
        DeviceState(screen="dim")


def test_state_that_is_lost_in_the_middle_is_an_error_and_the_run_is_kept(phone, plan):
    def lose(at):
        if at.phase == "run" and screen(phone) == "Awake":
            with open_transport(Device.parse("local://")) as transport:
                recover(transport, force=True)

    result = execute(plan(screen="on"), None, on_progress=lose)
    assert len(result.runs) == 1
    assert ["given back in the middle" in failure.error for failure in result.failed] == [True]
    assert screen(phone) == "Asleep"


def test_a_bench_that_is_killed_leaves_the_device_as_it_was(phone, tmp_path):
    path = tmp_path / "bare.tflite"
    path.write_bytes(b"nothing is computed")
    argv = [sys.executable, "-m", "edgekit.cli.main", "bench", path, "--device", "local://",
            "--runtime", "null", "--runs", "100000000", "--max-s", "600", "--screen", "on"]  # fmt: skip
    argv = [*map(str, argv), "--store", str(tmp_path / "runs.sqlite")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        eventually(lambda: screen(phone) == "Awake")
        state = tmp_path / "cache/edgekit/device/state"
        eventually((state / "watchdog").exists)
        process.kill()
        # Its patience is a minute; a shutdown's signal makes the watchdog do at once what it does then.
        os.kill(int((state / "watchdog").read_text().split()[0]), signal.SIGTERM)
        eventually(lambda: screen(phone) == "Asleep" and not state.exists())
    finally:
        process.kill()
        process.communicate()


def eventually(truth):
    end = time.monotonic() + PATIENCE_S
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.05)
