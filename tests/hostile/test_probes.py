"""What sensors, meters and system programs say: a number, a reason, or nothing; and never a crash."""

import math

import pytest
from hypothesis import strategies as st

from edgekit.errors import ProtocolError, UsageError
from edgekit.probes import PROBES, Watch, find
from edgekit.probes.ask import ANSWER_BYTES, number_of, read_answer
from edgekit.probes.read import READERS, numbers_of, odpm_numbers, pmic_numbers, products, settled
from edgekit.probes.scpi import ANSWER_BYTES as LINE_BYTES
from edgekit.probes.scpi import ScpiMeter
from edgekit.runners.conditions import host_conditions, zones
from edgekit.targets import load_target
from edgekit.testing.hostile import VALUES, Parrot, fuzzed, spoilt, spoilt_json, understood_or_refused

FILES = {
    "/sys/class/hwmon/hwmon2/": {"name": "ina226", "power1_input": "2537500", "curr1_input": "500",
                                 "in1_input": "5080", "shunt_resistor": "10000", "update_interval": "35"},
    "/sys/class/hwmon/hwmon10/": {"name": "pmbus", "curr2_input": "1200", "in2_input": "12000",
                                  "in2_label": "vin"},
    "/sys/bus/iio/devices/iio:device0/": {
        "name": "ina226", "in_power2_raw": "489", "in_power2_scale": "6.250000000", "in_power2_offset": "1",
        "in_voltage1_raw": "4080", "in_voltage1_scale": "1.250000000", "in_shunt_resistor": "0.010000000",
        "in_voltage0_integration_time": "0.001100", "in_oversampling_ratio": "4"},
    "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/": {
        "in_power0_input": "2345", "rail_name_0": "GPU", "in_power1_input": "12", "rail_name_1": "CPU"},
    "/sys/class/powercap/intel-rapl:0/": {"name": "package-0", "energy_uj": "1000",
                                          "max_energy_range_uj": "262143328850"},
    "/sys/class/power_supply/battery/": {
        "type": "Battery", "status": "Discharging", "current_now": "-450000", "voltage_now": "4100000"},
    "/sys/class/power_supply/usb/": {"type": "USB", "online": "0"},
}  # fmt: skip
PMIC = b"""VDD_CORE_A current(7)=2.10000000A
 3V7_WL_SW_A current(0)=0.09758720A
 3V7_WL_SW_V volt(8)=3.70000000V
 VDD_CORE_V volt(15)=0.80000000V
"""
ODPM = b"""Elapsed time: 12345 ms
        [VSYS_PWR_DISPLAY]:Display       1039108.42 mWs
        [S2M_VDD_CPUCL2]:CPU(BIG)          28071.87 mWs
"""
ODPM_FILE = b"t=473848\nCH42(T=473848)[S10M_VDD_TPU], 3161249\nCH3(T=473848)[S2M_VDD_CPUCL2], 28071872\n"
BATTERY = b"""Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  level: 85
"""
THERMAL = b"""IsStatusOverride: false
Thermal Status: 3
Cached temperatures:
\tTemperature{mValue=37.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
Current temperatures from HAL:
\tTemperature{mValue=66.5, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=-5700.0, mType=0, mName=MISSING, mStatus=0}
"""


def told_as(name, text):
    return b"".join(b"ok\t!" + name + b"\t" + line + b"\n" for line in text.splitlines())


def in_sections(key, text):
    return b"".join(key + b"|" + line + b"\n" for line in text.splitlines())


ANSWER = (
    "".join(f"ok\t{d}{n}\t{v}\n" for d, files in FILES.items() for n, v in files.items()).encode()
    + b"no\t/sys/class/hwmon/hwmon3/power1_input\tPermission denied\n"
    + told_as(b"pmic", PMIC)
    + told_as(b"odpm", ODPM)
    + told_as(b"odpm:/sys/bus/iio/devices/iio:device0/energy_value", ODPM_FILE)
    + told_as(b"battery", BATTERY)
)
CONDITIONS = (
    b"pi|throttled=0x50005\n"
    + in_sections(b"thermal", THERMAL)
    + in_sections(b"battery", BATTERY)
    + b"supply|battery|Battery||Discharging||77\nsupply|usb|USB|||1\nsupply|mouse|Battery|Device|Full||3\n"
    + b"zone|cpu-thermal|51200\nzone|k10temp Tctl|48000\nzone|skin|372\n"
)
WATCHES = [
    watch
    for name in PROBES
    for watch in PROBES.get(name)().find(read_answer(ANSWER), None)
    if isinstance(watch, Watch)
]


def numbers_in(data):
    """Yield every number of JSON's types."""
    for one in data.values() if isinstance(data, dict) else data:
        if isinstance(one, float):
            yield one
        elif isinstance(one, (dict, list, tuple)):
            yield from numbers_in(one)


def texts_in(data):
    """Yield every text of JSON's types, names included."""
    for one in (*data, *data.values()) if isinstance(data, dict) else data:
        if isinstance(one, str):
            yield one
        elif isinstance(one, (dict, list, tuple)):
            yield from texts_in(one)


# --- sensors ----------------------------------------------------------------------------------------------
def test_what_is_spoilt_below_is_understood_as_it_is():
    assert {watch.family for watch in WATCHES} == {"hwmon", "iio", "jetson", "odpm", "pmic", "rapl"}
    assert len(find(Parrot(ANSWER), {}).others) >= 6


@pytest.mark.parametrize("name", list(PROBES))
@fuzzed(spoilt([ANSWER, *(ANSWER.replace(BATTERY.splitlines()[n], b"") for n in (1, 2))]))
def test_a_family_finds_sensors_or_reasons(name, answer):
    told = read_answer(answer)
    for found in PROBES.get(name)().find(told, load_target("raspberry-pi-5")):
        data = found.to_json() if isinstance(found, Watch) else {"reason": found.reason}
        assert all(map(math.isfinite, numbers_in(data)))
        assert all(text.isprintable() and len(text) < 70_000 for text in texts_in(data))


@fuzzed(spoilt([ANSWER]) | st.binary(max_size=500))
def test_any_answer_has_a_sensor_or_a_reason(answer):
    found = find(Parrot(answer), {})
    assert found.watch if hasattr(found, "watch") else found.reason.startswith("not measurable here: ")


def test_an_answer_is_read_so_far_and_no_further():
    told = read_answer(b"ok\t/a\t1\n" * 100_000 + b"ok\t/b\t2\n")
    assert len(b"ok\t/a\t1\n") * 100_000 > ANSWER_BYTES
    assert dict(told.files) == {"/a": "1"}


@pytest.mark.parametrize("name", ["1²2", "1" * 5000, "1" * 400])
def test_paths_with_odd_digits_are_sorted_too(name):
    """A superscript is a digit to Python and no number; and five thousand digits are more than it reads."""
    answer = f"ok\t/sys/class/hwmon/hwmon{name}/power1_input\t5\nok\t/sys/class/hwmon/hwmon{name}/name\tx\n"
    assert len(PROBES.get("hwmon")().find(read_answer(answer.encode()), None)) in {0, 1}


def test_no_control_character_of_a_sensor_is_kept():
    told = read_answer(b"no\t/sys/class/hwmon/hwmon0/power1_input\t\x1b]0;owned\x07 denied\n")
    (refusal,) = PROBES.get("hwmon")().find(told, None)
    assert "denied" in refusal.reason
    assert refusal.reason.isprintable()


# --- readings ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["1e99", "-1e31", "1e-99", "9" * 63, "nan", "inf", "1_000", "٣", "0x10"])
def test_what_no_sensor_means_is_no_number(text):
    assert number_of(text) is None


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), (" +1.5e3 ", 1500.0), ("-.5", -0.5), ("1e18", 1e18)])
def test_what_sensors_say_is_a_number(text, value):
    assert number_of(text) == value


@pytest.mark.parametrize("reader", sorted(READERS))
@fuzzed(spoilt([PMIC, ODPM, ODPM_FILE, b"1234\n", b"-5.25e3"]))
def test_a_text_has_finite_numbers_or_none(reader, text):
    found = READERS[reader]({"a": text.decode("utf-8", "replace")})
    assert all(map(math.isfinite, found.values()))


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: f"{watch.family} {watch.source}"[:40])
@fuzzed(spoilt([PMIC, ODPM, ODPM_FILE, b"1234", b"-2147483648", b"9e29"]))
def test_a_reading_is_watts_or_nothing(watch, text):
    told = text.decode("utf-8", "replace")
    numbers = numbers_of(watch, dict.fromkeys([*watch.reads, *watch.commands], told))
    found = products(watch.terms, numbers)
    assert found is None or all(map(math.isfinite, found))
    assert isinstance(settled(watch, [numbers, numbers]), (Watch, str))


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (pmic_numbers, "\n" * 300_000),
        (pmic_numbers, " " * 300_000),
        (pmic_numbers, "A" * 300_000),
        (odpm_numbers, "[a]" * 100_000),
        (odpm_numbers, "[a]b " + " " * 300_000),
        (odpm_numbers, "(T=" + "\n" * 300_000),
    ],
)
def test_long_nonsense_is_read_once(parse, text):
    """A pattern that begins anew at each place and reads on to the end would take an hour here."""
    assert parse(text) == {}


@fuzzed(spoilt_json([watch.to_json() for watch in WATCHES]))
def test_a_stored_sensor_is_understood_or_refused(data):
    watch = understood_or_refused(Watch.from_json, data)
    assert watch is None or all(map(math.isfinite, numbers_in(watch.to_json())))


# --- meters -----------------------------------------------------------------------------------------------
class Line:
    """A meter's line that says what it is given, in pieces, then nothing."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.sent = 0

    def send(self, data):
        self.sent += len(data)

    def receive(self, timeout_s):
        if not self.pieces:
            raise ConnectionResetError("the meter hung up")
        return self.pieces.pop(0)

    def close(self):
        self.pieces = []


@fuzzed(st.lists(spoilt([b"", b"1\n", b"ACME,PSU 1,7,1.0\n", b"5.0012E+0\n", b"9.91E37\n"]), max_size=9))
def test_a_meter_may_answer_anything(pieces):
    line = Line(b"", *pieces)
    try:
        meter = ScpiMeter(line, "scpi+tcp://h:1", {"volts": "MEAS:VOLT?", "amps": "MEAS:CURR?"})
        told = understood_or_refused(meter.read) or {}
    except (ProtocolError, ConnectionResetError):
        return
    assert all(number_of(text) is not None for text in told.values())
    assert meter.watch().source.isprintable()


def test_a_meter_that_never_ends_its_line_is_given_up():
    line = Line(b"", *[b"1" * LINE_BYTES] * 5)
    with pytest.raises(ProtocolError, match="so far it said"):
        ScpiMeter(line, "scpi+tcp://h:1", {"power": "MEAS:POW?"})
    assert len(line.pieces) >= 2


@fuzzed(spoilt([b"scpi+tcp://127.0.0.1:1?gain=0.1&interval_ms=5", b"scpi+serial:///dev/none?baud=9600"]))
def test_a_meters_address_is_one_or_is_refused(address):
    from edgekit.probes.scpi import _options

    asked = address.decode("utf-8", "replace").partition("?")[2]
    understood_or_refused(_options, asked)


def test_a_number_that_is_none_is_refused_in_an_address():
    from edgekit.probes.scpi import open_scpi

    for address in ("scpi+tcp://127.0.0.1:²", "scpi+tcp://127.0.0.1:" + "9" * 5000, "scpi+serial://x?baud=²"):
        with pytest.raises(UsageError):
            open_scpi(address)


# --- conditions -------------------------------------------------------------------------------------------
def test_the_conditions_that_are_spoilt_below_are_good_ones():
    found = host_conditions(Parrot(CONDITIONS))
    assert found["power_status"] == "charging"
    assert found["throttled"] == "under-voltage, throttled, thermal status severe"
    assert {zone.name: zone.celsius for zone in zones(Parrot(CONDITIONS))}["k10temp Tctl"] == 48.0


@fuzzed(spoilt([CONDITIONS]) | st.binary(max_size=300))
def test_conditions_are_told_or_left_out(answer):
    for found in (host_conditions(Parrot(answer)), {"zones": [z.celsius for z in zones(Parrot(answer))]}):
        assert all(map(math.isfinite, numbers_in(found)))
        assert all(text.isprintable() and len(text) <= 200 for text in texts_in(found))
        assert 0 <= found.get("battery_percent", 0) <= 100


def test_a_tab_in_a_zones_name_is_a_space():
    thermal = b"thermal|\tTemperature{mValue=37.0, mType=3, mName=\tSKIN, mStatus=0}"
    assert host_conditions(Parrot(thermal))["temperatures"] == {" SKIN": 37.0}
    assert [zone.name for zone in zones(Parrot(b"zone|my\tcpu|48000"))] == ["my cpu"]


@pytest.mark.parametrize(
    "line",
    [
        "battery|  status: ²", "battery|  level: ²", "battery|  level: " + "9" * 5000,
        "battery|  level: 9999", "battery|  level: ",
        "supply|b|Battery||Full||²", "supply|b|Battery||Full||" + "9" * 5000,
        "thermal|Temperature{mValue=1.2.3, mType=0, mName=A, mStatus=0}", "thermal|Thermal Status: ٣",
        "zone|cpu|²", "zone|cpu|٣٣٣٣",
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_left_out(line):
    assert host_conditions(Parrot(line.encode())).get("battery_percent") is None
    assert zones(Parrot(line.encode())) == ()


@fuzzed(VALUES)
def test_what_was_before_may_be_anything_stored(value):
    before = {"throttle_mask": value} if isinstance(value, int) and value >= 0 else {}
    assert "throttled" in host_conditions(Parrot(CONDITIONS), before=before)
