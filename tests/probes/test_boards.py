"""Jetson rails, the Pi 5's PMIC, RAPL and Android's power rails, as they tell themselves."""

import pytest

from edgekit import probes
from edgekit.probes import Found
from edgekit.probes.ask import read_answer
from edgekit.probes.jetson import Jetson
from edgekit.probes.odpm import Odpm
from edgekit.probes.pmic import Pmic
from edgekit.probes.rapl import Rapl
from edgekit.probes.read import numbers_of, odpm_numbers, pmic_numbers, products

RAPL = "/sys/class/powercap"
PMIC = """ 3V7_WL_SW_A current(0)=0.09758720A
   3V3_SYS_A current(1)=0.06245619A
 VDD_CORE_A current(7)=2.10000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
 VDD_CORE_V volt(15)=0.80000000V
    EXT5V_V volt(24)=5.15000000V
     BATT_V volt(25)=0.00000000V
"""
# Written after the HAL's own dump; sysfs as a Pixel's kernel module prints it.
ODPM = """============= PowerStats HAL 2.0 energy meter ==============
Elapsed time: 12345 ms
        [VSYS_PWR_DISPLAY]:Display       1039108.42 mWs
        [S2M_VDD_CPUCL2]:CPU(BIG)          28071.87 mWs
        [S4M_VDD_CPUCL0]:CPU(LITTLE)       12001.50 mWs
        [S1M_VDD_MIF]:MIF                  25901.66 mWs
========== End of PowerStats HAL 2.0 energy meter ==========
"""
ODPM_FILE = """t=473848
CH42(T=473848)[S10M_VDD_TPU], 3161249
CH1(T=473848)[VSYS_PWR_MODEM], 48480309
CH3(T=473848)[S2M_VDD_CPUCL2], 28071872
"""


def total(watch, **raw):
    """What a watch makes of raw texts: watts or joules."""
    found = products(watch.terms, numbers_of(watch, raw))
    return sum(value * term.scale for value, term in zip(found, watch.terms, strict=True))


def jetson(tree, *names):
    for number, name in enumerate(names):
        files = {f"in_power{number}_input": 1000 * (number + 1), f"rail_name_{number}": name,
                 f"in_voltage{number}_input": 5008}  # fmt: skip
        tree.put("/sys/bus/i2c/drivers/ina3221x/6-0040/iio__device0".replace("__", ":"), **files)


def test_a_jetson_nanos_input_is_the_whole(tree, look):
    jetson(tree, "POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")
    found = look(Jetson)
    assert found.watch.covers == "board"
    assert found.watch.source == "ina3221x POM_5V_IN"
    assert total(found.watch, POM_5V_IN="2345") == pytest.approx(2.345)
    assert len(found.others) == 2


def test_a_jetson_without_an_input_rail_is_the_sum_of_its_parts(tree, look):
    jetson(tree, "GPU", "CPU", "SOC")
    watch = look(Jetson).watch
    assert watch.source == "ina3221x GPU + CPU + SOC"
    assert watch.covers == "parts"
    assert total(watch, GPU="1000", CPU="2000", SOC="500") == pytest.approx(3.5)


def test_the_pi_5s_pmic_is_the_sum_of_its_rails(local, command):
    command("vcgencmd", PMIC)
    watch = probes.find(local, {}, probes=[Pmic()]).watch
    assert watch.commands == {"pmic": ("vcgencmd", "pmic_read_adc")}
    true = 0.0975872 * 3.7 + 0.06245619 * 3.3 + 2.1 * 0.8
    assert total(watch, pmic=PMIC) == pytest.approx(true)
    assert "3 rails" in watch.source
    assert "without" in watch.source
    assert watch.period_s >= 0.25  # a program is not started fifty times a second


def test_a_firmware_without_the_command_is_told(local, command):
    command("vcgencmd", 'error=1 error_msg="Command not registered"\n')
    found = probes.find(local, {}, probes=[Pmic()])
    assert "tells no rails (error=1" in found.reason


def test_rapl_packages_and_memory_are_added(tree, look):
    tree.put(f"{RAPL}/intel-rapl:0", name="package-0", energy_uj=1000, max_energy_range_uj=262143328850)
    tree.put(f"{RAPL}/intel-rapl:0:0", name="core", energy_uj=600, max_energy_range_uj=262143328850)
    tree.put(f"{RAPL}/intel-rapl:0:1", name="dram", energy_uj=50, max_energy_range_uj=65712999613)
    watch = look(Rapl).watch
    assert watch.quantity == "energy"
    assert watch.source == "RAPL package-0 + dram"
    assert [term.wrap for term in watch.terms] == [262143328850, 65712999613]
    tree.put(f"{RAPL}/intel-rapl:1", name="psys", energy_uj=9000, max_energy_range_uj=1)
    assert look(Rapl).watch.source == "RAPL psys"


def test_rapl_that_only_root_may_read_says_so():
    told = read_answer(
        b"ok\t/sys/class/powercap/intel-rapl:0/name\tpackage-0\n"
        b"no\t/sys/class/powercap/intel-rapl:0/energy_uj\thead: cannot open: Permission denied\n"
    )
    (refusal,) = Rapl().find(told, None)
    assert "Permission denied" in refusal.reason
    assert "only root may" in refusal.reason


def test_rails_of_a_phone_by_its_hal(local, command):
    command("dumpsys", ODPM)
    watch = probes.find(local, {}, probes=[Odpm()]).watch
    assert watch.quantity == "energy"
    assert watch.source.startswith("ODPM, 3 rails: S2M_VDD_CPUCL2")
    assert "delta" not in " ".join(watch.commands["odpm"])
    assert total(watch, odpm=ODPM) == pytest.approx(28.07187 + 12.0015 + 25.90166)


def test_rails_of_a_phone_by_sysfs(tree, look):
    (tree.put("/sys/bus/iio/devices/iio:device0", name="s2mpg10-odpm") / "energy_value").write_text(ODPM_FILE)
    watch = look(Odpm).watch
    path = "/sys/bus/iio/devices/iio:device0/energy_value"
    assert watch.reads == {path: f"{tree.root}{path}"}
    assert total(watch, **{path: ODPM_FILE}) == pytest.approx(3.161249 + 28.071872)


def test_the_texts_of_rails_are_read_whole_or_not_at_all():
    assert pmic_numbers(PMIC)["VDD_CORE_A"] == 2.1
    assert "BATT_V" in pmic_numbers(PMIC)
    assert pmic_numbers(PMIC.replace("2.10000000A", "nanA")).get("VDD_CORE_A") is None
    assert odpm_numbers(ODPM)["S1M_VDD_MIF"] == 25901.66
    assert odpm_numbers(ODPM_FILE) == {
        "S10M_VDD_TPU": 3161249,
        "VSYS_PWR_MODEM": 48480309,
        "S2M_VDD_CPUCL2": 28071872,
    }


@pytest.mark.parametrize("emulated", ["fake", "qemu-user"])
def test_what_is_not_the_devices_own_is_not_looked_for(local, emulated):
    found = probes.find(local, {"emulated": emulated})
    assert found.reason.startswith("not measurable here: ")


def test_an_emulated_board_with_a_sensor_of_its_own_is_measured(tree, look):
    tree.put(f"{RAPL}/intel-rapl:0", name="package-0", energy_uj=1, max_energy_range_uj=9)
    assert isinstance(look(Rapl, facts={"emulated": "qemu-tcg"}), Found)
    nothing = look(Jetson, facts={"emulated": "qemu-tcg"})
    assert nothing.reason.endswith("an emulated device (qemu-tcg) draws no power of its own")
