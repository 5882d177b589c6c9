"""Looking for sensors: in every shell alike, among all families, with a reason wherever none is found."""

import shutil
import subprocess
from fnmatch import fnmatch

import pytest

from edgekit import probes
from edgekit.errors import DeviceLostError, UnknownNameError
from edgekit.probes import PROBES, Found, Refusal, SensorError, Term, Unavailable, Watch
from edgekit.probes.ask import read_answer, script_of
from edgekit.probes.hwmon import Hwmon
from edgekit.probes.iio import Iio
from edgekit.probes.odpm import METER
from edgekit.probes.power_supply import PowerSupply
from edgekit.probes.rapl import Rapl
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device, load_target, target_names

SHELLS = {
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "busybox": ["busybox", "sh"],
    "mksh": ["mksh"],
}


class Toy:
    """A family of another package: one sensor, told by a program."""

    name = "toy"

    def script(self):
        return "c toy printf '%s\\n' 1250"

    def find(self, told, target):
        if told.commands.get("toy") != "1250":
            return [Refusal(family="toy", reason="the toy is broken")]
        term = Term(factors=("toy",), scale=1e-3)
        error = SensorError(gain=0.1, origin="a guess")
        reads = {"toy": "/toy"}
        return [Watch(family="toy", source="toy", covers="parts", reads=reads, terms=(term,), error=error)]


def board(tree):
    """A board with a bit of everything."""
    tree.put(
        "/sys/class/hwmon/hwmon0", name="ina226", power1_input=3060000, shunt_resistor=10000, in1_input=5100
    )
    tree.put("/sys/class/hwmon/hwmon10", name="ina3221", curr1_input=5, in1_input=5000, in1_label="VDD_CPU")
    tree.put("/sys/bus/iio/devices/iio:device0", name="ina219", in_power2_raw=1, in_power2_scale="20.0")
    tree.put("/sys/class/power_supply/BAT0", type="Battery", status="Full", energy_now=5)
    tree.put("/sys/class/powercap/intel-rapl:0", name="package-0", energy_uj=7, max_energy_range_uj=9)
    (tree.put("/sys/class/hwmon/hwmon3", name="broken") / "power1_input").symlink_to("/proc/self/mem")


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_every_shell_gives_the_same_answer(tree, shell):
    argv = SHELLS[shell]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"needs {argv[0]}")
    board(tree)
    families = [kind(root=str(tree.root)) for kind in (Hwmon, Iio, PowerSupply, Rapl)]
    script = script_of((family.root, family) for family in families)
    done = subprocess.run([*argv, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""
    told = read_answer(done.stdout)
    assert told.text("/sys/class/hwmon/hwmon0/power1_input") == "3060000"
    assert told.number("/sys/class/powercap/intel-rapl:0/energy_uj") == 7
    assert told.text("/sys/class/power_supply/BAT0/status") == "Full"
    assert list(told.refused) == ["/sys/class/hwmon/hwmon3/power1_input"]
    sources = [w.source for family in families for w in family.find(told, None) if isinstance(w, Watch)]
    assert sources == [
        "ina226 hwmon0 power1", "ina3221 hwmon10 in1 (VDD_CPU)", "ina219 iio:device0 in_power2",
        "RAPL package-0",
    ]  # fmt: skip


def test_all_there_is_is_told_the_best_first(tree, look):
    board(tree)
    found = look(Hwmon, Iio, PowerSupply, Rapl)
    assert isinstance(found, Found)
    assert [w.family for w in (found.watch, *found.others)] == ["hwmon", "iio", "hwmon", "rapl"]
    assert any("hwmon3" in reason for reason in found.refused)
    assert any("BAT0 says Full" in reason for reason in found.refused)
    assert look(Hwmon, Iio, sensor="INA219").watch.family == "iio"


def test_a_machine_without_any_file_answers_too(look):
    names = ("hwmon", "iio", "jetson", "rapl", "power_supply")
    assert isinstance(look(*map(PROBES.get, names)), Unavailable)


def test_another_packages_family_is_asked_too(local, monkeypatch):
    monkeypatch.setitem(PROBES._entries, "toy", Toy)
    found = probes.find(local, {}, sensor="toy")
    assert found.watch.source == "toy"
    monkeypatch.setattr(Toy, "script", lambda self: "c toy printf broken")
    assert probes.find(local, {}, probes=[Toy()]).reason == "not measurable here: the toy is broken"
    with pytest.raises(UnknownNameError, match="hwmon"):
        PROBES.get("hwmom")


def test_a_dead_device_is_an_error_and_no_reason():
    transport = FakeTransport(Device.parse("fake://"), faults=Faults(dies_after_calls=0))
    with transport, pytest.raises(DeviceLostError):
        probes.find(transport, {})


def test_an_endless_answer_is_cut(local):
    class Endless(Toy):
        def script(self):
            return "c toy yes"

    assert probes.find(local, {}, probes=[Endless()]).reason.endswith("the toy is broken")


@pytest.mark.parametrize("name", target_names())
def test_every_power_sensor_that_a_target_names_has_a_family(name):
    scripts = "\n".join(PROBES.get(family)().script() for family in PROBES)
    for sensor in load_target(name).sensors:
        if sensor.measures != "power":
            continue
        if sensor.source.startswith("/"):
            folder = sensor.source.rpartition("/")[0]
            known = (
                "/sys/class/hwmon/hwmon*",
                "/sys/class/power_supply/*",
                "/sys/bus/i2c/drivers/ina3221x/*",
                "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*",
            )
            assert any(fnmatch(folder, pattern) for pattern in known), sensor.source
        else:
            words = sensor.source.split()
            assert " ".join(words[:2]) in scripts or words[1] in METER[-1], sensor.source


@pytest.mark.parametrize("name", ["raspberry-pi-5", "galaxy-s24"])
def test_a_target_with_a_sensor_that_is_not_found_says_which_it_may_have(name, local):
    reason = probes.find(local, {}, load_target(name), probes=[]).reason
    assert "such a device may have" in reason
