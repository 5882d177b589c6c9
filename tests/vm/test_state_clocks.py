"""A real kernel's clocks: changed, lost with their host, and given back, whatever the wall clock does."""

import signal
import subprocess
import sys
import time

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.state import DeviceState
from edgekit.bench.summarize import summarize
from edgekit.errors import UsageError
from edgekit.runners.state import changed, frequency, governor, policies, recover

pytestmark = pytest.mark.vm
PATIENCE_S = 120
SHOW = "cd /sys/devices/system/cpu/cpufreq/policy0; cat scaling_governor scaling_min_freq scaling_max_freq"
OWN = ["schedutil", "600000", "1800000"]
SET = ["performance", "1000000", "1000000"]
HOST = """
import sys, time
from edgekit.runners.state import changed, frequency, governor, policies
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
with open_transport(Device.parse(sys.argv[1])) as transport:
    found = policies(transport)
    wanted = [*governor(found, "performance"), *frequency(found, 1000000)]
    with changed(transport, wanted, heartbeat_s=2):
        print("changed", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def host(vm, monkeypatch):
    """Start a host that changes the board's clocks; it is put down in the end."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(vm.ssh_config))
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, vm.address], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "changed\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def clocks(vm):
    return vm.run(SHOW).split()


def eventually(truth):
    end = time.monotonic() + PATIENCE_S
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.3)


def test_governor_and_frequency_are_the_kernels_own(vm, on):
    transport = on(vm)
    found = policies(transport)
    assert (found[0].governor, found[0].min_khz, found[0].max_khz) == ("schedutil", 600000, 1800000)
    with changed(transport, [*governor(found, "performance"), *frequency(found, 1000000)]):
        assert clocks(vm) == SET
    assert clocks(vm) == OWN
    with pytest.raises(UsageError, match="can't run at 1200 MHz: choose one of: 600, 1000, 1400, 1800 MHz"):
        frequency(found, 1200000)


def test_a_killed_hosts_clocks_are_given_back_and_a_stepped_wall_clock_changes_nothing(vm, host):
    process = host()
    assert clocks(vm) == SET
    for year in (2031, 1999):
        vm.run(f"date -s '{year}-01-01' >/dev/null; sleep 10")
        assert clocks(vm) == SET
    process.kill()
    eventually(lambda: clocks(vm) == OWN)


def test_what_the_watchdog_did_not_live_to_restore_the_next_connection_does(vm, on, host):
    process = host()
    process.send_signal(signal.SIGKILL)
    vm.run("kill -9 $(cut -d' ' -f1 ~/.edgekit/state/watchdog)")
    assert [line.word for line in recover(on(vm))] == ["restored"] * 3
    assert clocks(vm) == OWN


def test_a_bench_runs_at_the_clock_that_is_asked_for(vm, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(vm.ssh_config))
    path = tmp_path / "bare.tflite"
    path.write_bytes(b"nothing is computed")
    state = DeviceState(governor="performance", khz=1400000)
    plan = make_plan([path], [vm.address], runtime="null", runs=70, passes=("latency",), state=state)
    result = execute(plan, None)
    assert result.failed == ()
    run = result.runs[0]
    seen = [c for told in run.conditions for c in told.get("clusters", ())]
    assert {(c["governor"], c["cur_khz"]) for c in seen} == {("performance", 1400000)}
    assert (run.plan["governor"], run.plan["frequency_khz"]) == ("performance", 1400000)
    assert not {"governor", "governor-moved", "clock-moved"} & {d.code for d in summarize(run).doubts}
    assert clocks(vm) == OWN
