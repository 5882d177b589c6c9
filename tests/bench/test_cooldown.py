"""Waiting until a device is cool."""

import pytest

from edgekit.bench.cooldown import Cooldown, cool_down, hottest
from edgekit.errors import DeviceUnfitError, StableDeviceError, UnknownNameError, UsageError


@pytest.fixture
def sysfs(tmp_path):
    """A sysfs with two zones of the CPU and one of a battery, and a way to heat them."""

    def heat(**celsius):
        for number, (name, value) in enumerate(celsius.items()):
            zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
            zone.mkdir(parents=True, exist_ok=True)
            (zone / "type").write_text(f"{name}\n")
            (zone / "temp").write_text(f"{round(value * 1000)}\n")
        return str(tmp_path / "sys")

    return heat


def test_a_cool_device_is_not_waited_for(device, sysfs):
    cooled = cool_down(device, Cooldown(celsius=45), sysfs=sysfs(cpu_0=44, cpu_1=45, battery=60))
    assert (cooled.zone, cooled.from_c, cooled.to_c) == ("cpu_1", 45, 45)


def test_it_waits_for_the_hottest_zone_of_the_cpu(device, sysfs):
    path, seen = sysfs(cpu_0=50, cpu_1=52), []

    def cool(zone):
        seen.append((zone.name, zone.celsius))
        sysfs(cpu_0=50 - 2 * len(seen), cpu_1=52 - 4 * len(seen))

    cooled = cool_down(device, Cooldown(celsius=45), sysfs=path, on_progress=cool, poll_s=0.01)
    assert seen == [("cpu_1", 52), ("cpu_0", 48), ("cpu_0", 46), ("cpu_0", 44)]
    assert (cooled.from_c, cooled.to_c) == (52, 44)
    assert cooled.waited_s > 0


def test_a_device_that_stays_hot_is_told_at_the_deadline(device, sysfs):
    wanted = Cooldown(celsius=45, timeout_s=0.2)
    pattern = r"^local://: cpu_0 is at 52\.0 C after 0\.2 s, not at 45 C \(it began at 52\.0 C\): cool it"
    with pytest.raises(StableDeviceError, match=pattern):
        cool_down(device, wanted, sysfs=sysfs(cpu_0=52), poll_s=0.05)


def test_a_device_without_a_zone_of_its_cpu_says_what_it_has(device, sysfs, tmp_path):
    with pytest.raises(DeviceUnfitError, match="no temperature of its CPU: leave --cooldown out"):
        hottest(device, sysfs=str(tmp_path))
    path = sysfs(battery=30, tmp102=31)
    with pytest.raises(
        DeviceUnfitError, match=r"no temperature of its CPU: .*--cooldown-zone: battery, tmp102"
    ):
        hottest(device, sysfs=path)
    assert hottest(device, zone="tmp102", sysfs=path).celsius == 31
    with pytest.raises(UnknownNameError, match="unknown zone of local:// 'tmp10': did you mean 'tmp102'"):
        hottest(device, zone="tmp10", sysfs=path)


@pytest.mark.parametrize("wrong", [{"celsius": 0}, {"celsius": 200}, {"celsius": 45, "timeout_s": 0}])
def test_what_can_not_be_waited_for_is_refused(wrong):
    with pytest.raises(UsageError):
        Cooldown(**wrong)
