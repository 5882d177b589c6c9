"""Batteries: units, signs, chargers and refusals, with the values that phones were seen with."""

import pytest

from edgekit import probes
from edgekit.probes import Found, Unavailable
from edgekit.probes.ask import read_answer
from edgekit.probes.power_supply import PowerSupply
from edgekit.probes.read import fits, numbers_of, settled

BASE = "/sys/class/power_supply"


def battery(tree, name="battery", **changes):
    files = {"type": "Battery", "status": "Discharging", "current_now": -450000, "voltage_now": 3888173}
    return tree.put(f"{BASE}/{name}", **{**files, **changes})


@pytest.fixture
def phone(local, command):
    """Find with `dumpsys` at hand, but files of a tree."""

    def find(tree, dump="Current Battery Service state:\n  AC powered: false\n  status: 3\n"):
        command("dumpsys", dump)

        class Both(PowerSupply):
            def script(self):
                return super().script().replace('[ -n "$r" ] || ', "")

        return probes.find(local, {}, probes=[Both(root=str(tree.root))])

    return find


def test_a_discharging_battery_is_a_sensor(tree, look):
    battery(tree)
    tree.put(f"{BASE}/usb", type="USB", online=0)
    watch = look(PowerSupply).watch
    assert watch.covers == "battery"
    assert set(watch.reads) == {"current", "voltage", "status", "online:usb"}
    assert watch.needs == {"status": ("Discharging",), "online:usb": ("0",)}
    assert not watch.settle  # the kernel's units hold on Linux
    raw = {"current": "-1", "voltage": "1", "status": "Discharging", "online:usb": "0"}
    assert fits(watch, raw)
    assert not fits(watch, {**raw, "online:usb": "1"})
    assert not fits(watch, {**raw, "status": "Charging"})
    assert not fits(watch, {"current": "-1", "voltage": "1"})


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", ""])
def test_any_other_status_is_a_reason(tree, look, status):
    battery(tree, status=status)
    found = look(PowerSupply)
    assert isinstance(found, Unavailable)
    assert "while it is charged" in found.reason
    assert (status or "no status") in found.reason


def test_a_plugged_charger_is_a_reason(tree, look):
    battery(tree)
    tree.put(f"{BASE}/ac", type="Mains", online=1)
    assert "unplug the device" in look(PowerSupply).reason


def test_a_mouses_battery_is_none_of_the_devices(tree, look):
    battery(tree, "hidpp_battery_0", scope="Device")
    assert look(PowerSupply).reason.endswith("no sensor that EdgeKit can read")


def test_a_battery_that_tells_power_alone(tree, look):
    battery(tree, "BAT0", current_now=None, voltage_now=None, power_now=7250000)
    watch = look(PowerSupply).watch
    assert watch.terms[0].factors == ("power",)
    assert watch.terms[0].scale == 1e-6


def test_a_refused_file_is_told_as_that_and_never_as_zero():
    told = read_answer(
        b"ok\t/sys/class/power_supply/battery/type\tBattery\n"
        b"ok\t/sys/class/power_supply/battery/status\tDischarging\n"
        b"no\t/sys/class/power_supply/battery/current_now\tcat: Permission denied\n"
    )
    (refusal,) = PowerSupply().find(told, None)
    assert refusal.reason.startswith("/sys/class/power_supply/battery/current_now can't be read")
    folder = read_answer(b"no\t/sys/class/power_supply/battery/status\tls: Permission denied\n")
    (refusal,) = PowerSupply().find(folder, None)
    assert "Permission denied" in refusal.reason


def test_a_phone_settles_its_unit_and_sign(tree, phone):
    battery(tree)
    found = phone(tree)
    assert isinstance(found, Found)
    assert found.watch.settle


@pytest.mark.parametrize("dump", ["  USB powered: true\n", "  (UPDATES STOPPED -- use 'reset' to restart)\n"])
def test_a_phone_that_is_plugged_or_pretends(tree, phone, dump):
    battery(tree)
    found = phone(tree, dump)
    assert ("unplug" if "USB" in dump else "dumpsys battery reset") in found.reason


SEEN = [
    (-326171, 3888173, 1.268, "uA, negative"),
    (451000, 3888173, 1.7536, "uA, positive"),
    (559, 4209000, 2.3528, "mA, positive"),
    (-305, 3900, 1.1895, "mA, negative"),
]


@pytest.mark.parametrize("seen", SEEN)
def test_units_and_signs_that_phones_were_seen_with(tree, phone, seen):
    current, voltage, watts, said = seen
    battery(tree, current_now=current, voltage_now=voltage)
    watch = settled(phone(tree).watch, [{"current": current, "voltage": voltage}] * 5)
    assert said in watch.source
    assert current * voltage * watch.terms[0].scale == pytest.approx(watts, rel=1e-3)


def test_what_is_no_current_settles_nothing(tree, phone):
    battery(tree)
    watch = phone(tree).watch
    for text in ("0", "-22", "-2147483648", "25000000"):
        assert "current" not in numbers_of(watch, {"current": text, "voltage": "4000000"})
    assert "no current" in settled(watch, [{"voltage": 4e6}])
    mixed = [{"current": c, "voltage": 4e6} for c in (-4e5, 3e5)]
    assert "changed its sign" in settled(watch, mixed)
