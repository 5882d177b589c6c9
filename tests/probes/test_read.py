"""Garbage never crashes a parser and never becomes a number; what was written is read back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UnknownNameError
from edgekit.probes import PROBES, SensorError, Term, Watch
from edgekit.probes.ask import natural, number_of, read_answer, script_of
from edgekit.probes.read import READERS, numbers_of, products

PATHS = st.sampled_from([
    "/sys/class/hwmon/hwmon0/name", "/sys/class/hwmon/hwmon0/power1_input",
    "/sys/class/hwmon/hwmon0/in1_input",
    "/sys/class/hwmon/hwmon0/curr1_input", "/sys/class/hwmon/hwmon0/shunt_resistor",
    "/sys/class/hwmon/hwmon0/update_interval", "/sys/bus/iio/devices/iio:device0/in_power2_raw",
    "/sys/bus/iio/devices/iio:device0/in_power2_scale", "/sys/bus/iio/devices/iio:device0/in_voltage1_raw",
    "/sys/class/power_supply/battery/type", "/sys/class/power_supply/battery/status",
    "/sys/class/power_supply/battery/current_now", "/sys/class/power_supply/battery/voltage_now",
    "/sys/class/powercap/intel-rapl:0/name", "/sys/class/powercap/intel-rapl:0/energy_uj", "!pmic", "!odpm",
    "!battery", "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input",
])  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["nan", "inf", "-1", "1e309", "0x10", "1,5", "12 34", "Discharging", "Battery", "\x00"]),
    st.integers(-(10**30), 10**30).map(str),
)


@given(st.lists(st.tuples(st.sampled_from(["ok", "no", "??"]), PATHS, VALUES), max_size=30))
def test_no_answer_crashes_a_family_or_makes_an_infinite_number(lines):
    answer = "\n".join("\t".join(line) for line in lines).encode("utf-8", "surrogatepass")
    told = read_answer(answer)
    for name in PROBES:
        for found in PROBES.get(name)().find(told, None):
            if isinstance(found, Watch):
                numbers = [found.error.gain, found.error.lsb_w, found.interval_s, found.volts, found.limit_w]
                assert all(math.isfinite(n) and n >= 0 for n in numbers)
                assert Watch.from_json(found.to_json()) == found


@given(st.binary(max_size=400))
def test_bytes_that_are_no_answer_tell_nothing_of_ours(data):
    told = read_answer(data)
    assert all(path.startswith("/") for path in (*told.files, *told.refused))


@given(
    st.dictionaries(st.sampled_from(["a", "b", "pmic"]), VALUES, max_size=3), st.sampled_from(sorted(READERS))
)
def test_readers_give_finite_numbers_or_none(raw, reader):
    assert all(math.isfinite(value) for value in READERS[reader](raw).values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1500\n", 1500), (" -22 ", -22), ("6.250000000", 6.25), ("+1.5E-03", 0.0015), ("", None),
        ("nan", None), ("inf", None), ("1e999", None), ("12 mW", None), ("0x10", None), ("1_000", None),
        ("--1", None), (".5", 0.5), ("1" * 70, None), ("٣", None),
    ],
)  # fmt: skip
def test_a_number_is_the_whole_text(text, value):
    assert number_of(text) == value


def test_a_term_needs_all_its_factors():
    terms = (Term(factors=("a", "b"), scale=2.0), Term(factors=(), scale=3.0))
    assert products(terms, {"a": 2.0, "b": 5.0}) == [10.0, 1.0]
    assert products(terms, {"a": 2.0}) is None
    assert products((Term(factors=("a", "a"), scale=1.0),), {"a": 1e200}) is None


def test_a_watch_is_read_back_and_unknown_keys_are_refused():
    watch = Watch(
        family="x", source="y", terms=(Term(factors=("a",), scale=1.0),), reads={"a": "/a"},
        error=SensorError(gain=0.1, origin="z"), needs={"a": ("1",)}, doubts=(("d", 1.0, 2.0, "h"),),
        commands={"c": ("x", "y")},
    )  # fmt: skip
    assert Watch.from_json(watch.to_json()) == watch
    assert numbers_of(watch, {"a": "2", "b": "x"}) == {"a": 2.0}
    with pytest.raises(UnknownNameError, match="interval_s"):
        Watch.from_json({**watch.to_json(), "intervall_s": 1})


def test_paths_sort_as_people_count():
    assert sorted(["/hwmon10/x", "/hwmon2/x"], key=natural) == ["/hwmon2/x", "/hwmon10/x"]


def test_a_root_with_a_quote_in_it_is_quoted(local, tree, look):
    from edgekit.probes.hwmon import Hwmon

    tree.root = tree.root.with_name("it's $(a) root")
    tree.put("/sys/class/hwmon/hwmon0", name="ina226", power1_input=5)
    assert look(Hwmon).watch.reads["power1"].startswith(str(tree.root))
    assert "it'\\''s" in script_of([(str(tree.root), Hwmon())])
