"""What a device's own programs tell of it: Android's, a Raspberry Pi's, the kernel's."""

import os

import pytest

from edgekit.runners.conditions import Zone, host_conditions, zones

THERMAL = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: {status}
Cached temperatures:
	Temperature{{mValue=37.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
HAL Ready: true
Current temperatures from HAL:
	Temperature{{mValue=66.5, mType=0, mName=BIG, mStatus=0}}
	Temperature{{mValue=23.793081, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
	Temperature{{mValue=-5700.0, mType=0, mName=MISSING, mStatus=0}}
	Temperature{{mValue=0.0, mType=0, mName=NOT-FITTED, mStatus=0}}
Current cooling devices from HAL:
	CoolingDevice{{mValue=0, mType=5, mName=tpu_cooling}}
Temperature static thresholds from HAL:
	TemperatureThreshold{{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.5, NaN], \
mColdThrottlingThresholds=[NaN, NaN, NaN, NaN]}}
	TemperatureThreshold{{mType=0, mName=BIG, mHotThrottlingThresholds=[NaN, NaN, x], mCold=[]}}
	TemperatureThreshold{{mType=0, mName=ABSENT, mHotThrottlingThresholds=[NaN, 1.0]}}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  level: 85
  voltage: 4209
"""


@pytest.fixture
def tell(tmp_path, monkeypatch):
    """Put programs in the device's path that print these texts, by name; a dumpsys tells each service's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name, text):
        (folder / f"{name}.txt").write_text(text)
        first, _, service = name.partition("-")
        program = folder / first
        shown = f"{folder}/{first}-$1.txt" if service else f"{folder}/{name}.txt"
        program.write_text(f"#!/bin/sh\nexec cat {shown}\n")
        program.chmod(0o755)

    return put


@pytest.fixture
def sysfs(tmp_path):
    """Write files into a sysfs of its own: path=text."""

    def write(**files):
        for path, text in files.items():
            target = tmp_path / "sys/class" / path.replace("__", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{text}\n")
        return str(tmp_path / "sys")

    return write


def phone(tell, status=0, battery=BATTERY):
    tell("getprop", "")
    tell("dumpsys-thermalservice", THERMAL.format(status=status))
    tell("dumpsys-battery", battery)


def test_a_phone_tells_its_thermal_status_and_battery(local, tell, sysfs):
    phone(tell)
    assert host_conditions(local, sysfs=sysfs()) == {
        "thermal_status": 0,
        "temperatures": {"BIG": 66.5, "VIRTUAL-SKIN": 23.793081},
        "trips": {"VIRTUAL-SKIN": {"light": 39.0, "moderate": 43.5}},
        "throttled": None,
        "plugged": True,
        "power_status": "charging",
        "battery_percent": 85,
    }


@pytest.mark.parametrize(
    ("status", "told"), [(1, None), (2, "thermal status moderate"), (3, "thermal status severe")]
)
def test_a_phone_that_is_too_hot_is_throttled(local, tell, sysfs, status, told):
    phone(tell, status)
    assert host_conditions(local, sysfs=sysfs())["throttled"] == told


def test_pretended_states_are_told_and_not_taken(local, tell, sysfs):
    phone(tell, battery=BATTERY.replace("state:", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)"))
    tell("dumpsys-thermalservice", THERMAL.format(status=0).replace("Override: false", "Override: true"))
    told = host_conditions(local, sysfs=sysfs())
    assert told["battery_faked"] is True
    assert told["thermal_override"] is True
    assert "power_status" not in told


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (("0x0", "0x0"), None),
        (("0x50000", "0x50000"), None),  # it was so once, before the run
        (("0x50000", "0x50005"), "under-voltage, throttled"),
        (("0x10000", "0x30000"), "frequency capped"),  # it came and went between the two looks
        (("0x0", "0x80008"), "soft temperature limit"),
    ],
)
def test_a_pi_tells_what_held_it_back_between_two_looks(local, tell, sysfs, masks, told):
    before, after = masks
    tell("vcgencmd", f"throttled={before}\n")
    first = host_conditions(local, sysfs=sysfs())
    tell("vcgencmd", f"throttled={after}\n")
    then = host_conditions(local, before=first, sysfs=sysfs())
    assert (then["throttled"], then["throttle_mask"]) == (told, int(after, 16))


def test_a_pi_that_does_not_let_us_ask_tells_nothing(local, tell, sysfs):
    tell("vcgencmd", "VCHI initialization failed\n")
    assert host_conditions(local, sysfs=sysfs()) == {}


def test_batteries_and_chargers_are_the_devices_own(local, sysfs):
    root = sysfs(
        power_supply__BAT0__type="Battery", power_supply__BAT0__status="Discharging",
        power_supply__BAT0__capacity="51", power_supply__AC__type="Mains", power_supply__AC__online="0",
        power_supply__mouse__type="Battery", power_supply__mouse__scope="Device",
        power_supply__mouse__status="Charging", power_supply__usb__type="USB", power_supply__usb__online="1",
    )  # fmt: skip
    wanted = {"power_status": "discharging", "battery_percent": 51, "plugged": True}
    assert host_conditions(local, sysfs=root) == wanted


def test_zones_come_in_the_units_that_their_size_tells(local, sysfs):
    root = sysfs(
        thermal__thermal_zone0__type="cpu-thermal", thermal__thermal_zone0__temp="51250",
        thermal__thermal_zone1__type="battery", thermal__thermal_zone1__temp="402",
        thermal__thermal_zone2__type="gpu-thermal", thermal__thermal_zone2__temp="48",
        thermal__thermal_zone3__type="cpu-0", thermal__thermal_zone3__temp="-274000",
        thermal__thermal_zone4__type="cpu-1", thermal__thermal_zone4__temp="what",
        hwmon__hwmon0__name="coretemp", hwmon__hwmon0__temp1_input="61000",
        hwmon__hwmon0__temp1_label="Package id 0",
    )  # fmt: skip
    assert zones(local, sysfs=root) == (
        Zone(name="cpu-thermal", celsius=51.25, cpu=True),
        Zone(name="battery", celsius=40.2, cpu=False),
        Zone(name="gpu-thermal", celsius=48.0, cpu=False),
        Zone(name="coretemp Package id 0", celsius=61.0, cpu=True),
    )


def test_a_phone_whose_zones_are_closed_tells_them_through_its_service(local, tell, sysfs):
    phone(tell)
    assert zones(local, sysfs=sysfs()) == (
        Zone(name="BIG", celsius=66.5, cpu=True),
        Zone(name="VIRTUAL-SKIN", celsius=23.793081, cpu=False),
    )


def test_a_device_that_tells_nothing_has_no_conditions(local, sysfs):
    assert host_conditions(local, sysfs=sysfs()) == {}
    assert zones(local, sysfs=sysfs()) == ()
