"""hwmon and IIO: the chips that measure a board's supply, recorded as their drivers show them."""

import pytest

from edgekit.probes import Found, Unavailable
from edgekit.probes.hwmon import Hwmon
from edgekit.probes.iio import Iio
from edgekit.probes.read import numbers_of, products
from edgekit.targets import load_target

HWMON = "/sys/class/hwmon"
IIO = "/sys/bus/iio/devices"
# As an emulated INA226 on a real kernel's bus told them: 3.06 W.
INA226_IIO = {
    "name": "ina226", "in_power2_raw": 489, "in_power2_scale": "6.250000000", "in_voltage1_raw": 4080,
    "in_voltage1_scale": "1.250000000", "in_current3_raw": 2400, "in_current3_scale": "0.250000000",
    "in_voltage0_integration_time": "0.001100", "in_voltage1_integration_time": "0.001100",
    "in_oversampling_ratio": 4, "in_shunt_resistor": "0.010000000",
}  # fmt: skip


def watts(watch, **numbers):
    """What a watch makes of raw texts."""
    found = products(watch.terms, numbers_of(watch, numbers))
    return sum(value * term.scale for value, term in zip(found, watch.terms, strict=True))


def test_an_ina226_in_hwmon(tree, look):
    tree.put(f"{HWMON}/hwmon3", name="ina226", power1_input=2537500, curr1_input=500, in0_input=5,
             in1_input=5080, shunt_resistor=10000, update_interval=35)  # fmt: skip
    watch = look(Hwmon).watch
    assert watch.source == "ina226 hwmon3 power1"
    assert watch.reads == {"power1": f"{tree.root}{HWMON}/hwmon3/power1_input"}
    assert watts(watch, power1="2537500") == pytest.approx(2.5375)
    assert watch.volts == 5.08
    assert watch.interval_s == 0.035
    assert watch.error.gain == pytest.approx(0.012)  # 0.1 % current, 0.1 % voltage, 1 % shunt
    assert watch.error.lsb_w == pytest.approx(0.00625)  # 25 x 2.5 uV over 10 mOhm
    assert watch.error.offset_w == pytest.approx(10e-6 / 0.010 * 5.08)
    assert watch.doubts == ()


def test_an_ina219_with_the_drivers_own_shunt_is_doubted(tree, look):
    tree.put(f"{HWMON}/hwmon0", name="ina219", power1_input=30600000, curr1_input=6000, in1_input=5100,
             shunt_resistor=10000)  # fmt: skip
    watch = look(Hwmon).watch
    (doubt,) = watch.doubts
    assert doubt[:3] == ("shunt-default", 10.0, 100.0)
    assert "echo 100000 >/sys/class/hwmon/hwmon0/shunt_resistor" in doubt[3]
    assert watch.limit_w == 28.0  # 5 V: what USB-C gives
    tree.put(f"{HWMON}/hwmon0/device/of_node", **{"shunt-resistor": ""})
    assert look(Hwmon).watch.doubts == ()  # the board's maker said so
    tree.put(f"{HWMON}/hwmon0", shunt_resistor=100000)
    assert look(Hwmon).watch.doubts == ()


def test_power_that_is_not_current_times_voltage_is_doubted(tree, look):
    tree.put(f"{HWMON}/hwmon0", name="ina226", power1_input=9000000, curr1_input=600, in1_input=5100,
             shunt_resistor=10000)  # fmt: skip
    (doubt,) = look(Hwmon).watch.doubts
    assert doubt[0] == "power-mismatch"
    assert doubt[1] == pytest.approx(9.0 / 3.06 - 1)


def test_an_ina3221_tells_no_power_but_current_and_voltage(tree, look):
    tree.put(f"{HWMON}/hwmon1", name="ina3221", in1_label="VDD_IN", in1_input=4980, curr1_input=1200,
             in2_label="VDD_CPU_GPU_CV", in2_input=4970, curr2_input=300, shunt1_resistor=5000,
             shunt2_resistor=5000, in4_input=3, in5_input=1)  # fmt: skip
    found = look(Hwmon)
    assert found.watch.source == "ina3221 hwmon1 in1 (VDD_IN)"
    assert found.watch.covers == "board"
    assert watts(found.watch, curr1="1200", in1="4980") == pytest.approx(5.976)
    assert found.watch.error.lsb_w == pytest.approx(40e-6 / 0.005 * 4.98)
    assert [w.covers for w in found.others] == ["parts"]
    assert look(Hwmon, sensor="cpu_gpu").watch.source.endswith("(VDD_CPU_GPU_CV)")


def test_pmbus_tells_input_power(tree, look):
    tree.put(f"{HWMON}/hwmon5", name="lm25066", power1_label="pin", power1_input=12250000,
             in1_label="vin", in1_input=12000, curr1_label="iin", curr1_input=1020)  # fmt: skip
    watch = look(Hwmon).watch
    assert watch.covers == "board"
    assert watch.error.gain == 0.05
    assert "taken" in watch.error.origin
    assert watch.limit_w == 0.0


def test_a_target_says_what_its_supply_gives(tree, look):
    tree.put(f"{HWMON}/hwmon0", name="ina226", power1_input=1000000, shunt_resistor=10000)
    target = load_target("raspberry-pi-4")
    limit = look(Hwmon, target=target).watch.limit_w
    assert limit == pytest.approx(1.1 * target.supply_w)


def test_shadows_of_batteries_and_what_can_not_be_a_number_are_no_sensors(tree, look):
    tree.put(f"{HWMON}/hwmon0", name="test_battery", curr1_input=-2, in0_input=3, in1_input=3)
    tree.put(f"{HWMON}/hwmon0/device", type="Battery")
    tree.put(f"{HWMON}/hwmon1", name="ina226", power1_input="N/A")
    tree.put(f"{HWMON}/hwmon2", name="coretemp", temp1_input=45000)
    assert look(Hwmon) == Unavailable(reason="not measurable here: no sensor that EdgeKit can read")


def test_what_can_not_be_read_is_told_with_its_reason(tree, look):
    place = tree.put(f"{HWMON}/hwmon0", name="ina226")
    (place / "power1_input").symlink_to("/proc/self/mem")  # an error of input and output for everybody
    found = look(Hwmon)
    assert isinstance(found, Unavailable)
    assert "hwmon0/power1_input can't be read" in found.reason
    assert "nput/output error" in found.reason


def test_an_ina226_in_iio(tree, look):
    tree.put(f"{IIO}/iio:device0", **INA226_IIO)
    watch = look(Iio).watch
    assert watch.source == "ina226 iio:device0 in_power2"
    assert list(watch.reads) == ["in_power2"]
    assert watts(watch, in_power2="489") == pytest.approx(3.05625)
    assert watch.volts == pytest.approx(5.1)
    assert watch.interval_s == pytest.approx(4 * 0.0022)
    assert watch.error.lsb_w == pytest.approx(0.00625)
    assert watch.limit_w == 28.0


def test_iio_offsets_inputs_and_missing_scales(tree, look):
    tree.put(f"{IIO}/iio:device0", name="adc", in_power0_raw=100, in_power0_scale="2.0", in_power0_offset=-10)
    assert watts(look(Iio).watch, in_power0="100") == pytest.approx(0.18)
    tree.put(f"{IIO}/iio:device1", name="meter", in_power0_input="1500")
    assert watts(look(Iio, sensor="meter").watch, in_power0="1500") == pytest.approx(1.5)
    (tree.root / "sys/bus/iio/devices/iio:device0/in_power0_scale").unlink()
    assert "no sensor is called 'adc'; there are meter iio:device1" in look(Iio, sensor="adc").reason


def test_the_iio_shunt_is_told_in_ohms(tree, look):
    tree.put(f"{IIO}/iio:device0", **{**INA226_IIO, "name": "ina219"})
    (doubt,) = look(Iio).watch.doubts
    assert "echo 0.1 >/sys/bus/iio/devices/iio:device0/in_shunt_resistor" in doubt[3]


def test_what_sees_the_whole_board_goes_first(tree, look):
    tree.put(f"{HWMON}/hwmon0", name="amdgpu", power1_average=20000000)
    tree.put(f"{HWMON}/hwmon1", name="ina226", power1_input=1000000)
    tree.put(f"{HWMON}/hwmon2", name="power_meter", power1_average=90000000)
    found = look(Hwmon, Iio)
    assert isinstance(found, Found)
    assert [w.covers for w in (found.watch, *found.others)] == ["board", "unknown", "parts"]
