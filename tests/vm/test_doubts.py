"""Doubts that a real kernel's device really gives reason for: busy loops beside a run, a hot sensor."""

import pytest

from edgekit.bench.checks_device import LOAD_LIMIT
from edgekit.bench.checks_heat import HOT_LIMIT
from edgekit.bench.execute import execute
from edgekit.bench.metering import PowerWish
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.testing.waiting import until

pytestmark = pytest.mark.vm

BUSY = "nice -n 19 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $!"
"""Nice, so that the run goes on beside it; the kernel counts it as load all the same."""


def load1(board):
    return float(board.run("cat /proc/loadavg").split()[0])


@pytest.fixture
def bench(vm, tmp_path, monkeypatch):
    """Return a bencher of nothing at all: the device's conditions are what it is made for."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(vm.ssh_config))
    path = tmp_path / "bare.tflite"
    path.write_bytes(b"nothing is computed")

    def run():
        plan = make_plan(
            [path], [vm.address], runtime="null", runs=70, passes=("latency",),
            power=PowerWish(mode="never"),
        )  # fmt: skip
        result = execute(plan, None)
        assert result.failed == ()
        (made,) = result.runs
        return made, {doubt.code: doubt for doubt in summarize(made).doubts}

    return run


@pytest.fixture
def busy(vm):
    """Busy loops on the board, four for each of its cores, until the load average tells of them."""
    cores = int(vm.run("nproc"))
    pids = vm.run("\n".join([BUSY] * (4 * cores))).split()
    assert len(pids) == 4 * cores
    try:
        until(lambda: load1(vm) > 2 * LOAD_LIMIT * cores, patience_s=120)
        yield cores
    finally:
        vm.run(f"kill {' '.join(pids)}")


def test_busy_loops_beside_a_run_are_load(busy, bench):
    run, doubts = bench()
    told = [condition["load1"] for condition in run.conditions if condition.get("load1") is not None]
    assert max(told) > LOAD_LIMIT * busy
    assert doubts["load"].value > doubts["load"].limit == LOAD_LIMIT


ZONE = """
set -e
for chip in /sys/class/hwmon/hwmon*; do [ "$(cat $chip/name)" = tmp102 ] && found=$chip; done
mount -t tmpfs none /sys/class/thermal
mkdir /sys/class/thermal/thermal_zone0
echo tmp102 >/sys/class/thermal/thermal_zone0/type
ln -s $found/temp1_input /sys/class/thermal/thermal_zone0/temp
"""
"""The board has no zone of its own, for no device tree names its thermometer: this one hands on what the
kernel's driver reads from it, each time anew."""


@pytest.fixture
def zone(vm, sensors):
    vm.run(ZONE)
    yield sensors.thermometer
    vm.run("umount /sys/class/thermal")
    sensors.thermometer.celsius = 45.5


def test_a_heated_thermometer_is_hot(zone, bench):
    zone.celsius = 91.5
    run, doubts = bench()
    assert {c["temperatures"]["tmp102"] for c in run.conditions if c.get("temperatures")} == {91.5}
    assert (doubts["hot"].value, doubts["hot"].limit) == (91.5, HOT_LIMIT)
    assert "tmp102" in doubts["hot"].hint
