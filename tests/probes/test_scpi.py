"""A meter that speaks SCPI, over a socket and a serial line, and what nasty ones do."""

import threading
import time

import pytest

from edgekit.errors import ProtocolError, UnknownNameError, UsageError
from edgekit.probes import scpi
from edgekit.probes.meter import METERS, Listener, host_now, open_meter
from edgekit.testing.scpi_double import NASTY, ScpiDouble


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Wait for no answer longer than a test should."""
    monkeypatch.setattr(scpi, "ANSWER_S", 0.25)


@pytest.fixture(params=["tcp", "serial"])
def double(request):
    if request.param == "serial":
        pytest.importorskip("serial", reason="needs the extra serial: pyserial")
    with ScpiDouble(lambda: 3.06, volts=5.1, serial=request.param == "serial") as double:
        yield double


@pytest.fixture
def meter(double):
    meter = open_meter(double.address)
    yield meter
    meter.close()
    meter.close()


def test_volts_and_amperes(double, meter):
    assert {name: float(text) for name, text in meter.read().items()} == pytest.approx(
        {"volts": 5.1, "amps": 0.6}
    )
    watch = meter.watch()
    assert watch.source.startswith("EdgeKit Double at scpi+")
    assert watch.terms[0].factors == ("volts", "amps")
    assert watch.covers == "board"
    assert watch.meter == double.address
    assert double.asked[-2:] == ["MEAS:VOLT?", "MEAS:CURR?"]


def test_watts_by_a_question_of_the_users(double):
    sign = "&" if "?" in double.address else "?"
    meter = open_meter(f"{double.address}{sign}power=measure:power:dc?&gain=0.0005&interval_ms=20")
    assert float(meter.read()["power"]) == pytest.approx(3.06)
    assert meter.watch().error.gain == 0.0005
    assert meter.watch().interval_s == 0.02
    meter.close()


@pytest.mark.parametrize("nasty", [n for n in NASTY if n not in {"hangup", "bytes", "late"}])
def test_no_answer_is_no_number_and_the_next_one_is_right(double, meter, nasty):
    double.nasty = nasty
    with pytest.raises(ProtocolError, match=double.address.partition("?")[0].replace("+", r"\+")):
        meter.read()
    double.nasty = ""
    assert float(meter.read()["volts"]) == pytest.approx(5.1)


def test_one_byte_at_a_time_is_an_answer(double, meter):
    double.nasty = "bytes"
    assert float(meter.read()["amps"]) == pytest.approx(0.6)


def test_a_late_answer_is_never_taken_for_the_next_ones(double, meter):
    double.nasty = "late"
    with pytest.raises(ProtocolError):
        meter.read()
    double.nasty = ""
    told = []
    for _ in range(4):
        try:
            told.append(float(meter.read()["amps"]))
        except ProtocolError:
            time.sleep(0.1)
    assert told
    assert told == pytest.approx([0.6] * len(told))  # never the volts that came late


def test_a_meter_that_hangs_up():
    with ScpiDouble(lambda: 1.0) as double:
        meter = open_meter(double.address)
        double.nasty = "hangup"
        with pytest.raises(OSError, match="hung up"):
            meter.read()
        meter.close()


def test_the_double_speaks_scpi():
    with ScpiDouble(lambda: 1.0) as double:
        host, port = double.address.removeprefix("scpi+tcp://").split(":")
        link = scpi.TcpLink(host, int(port))
        link.send(b"MEASure:VOLTage:DC?;:MEAS:POW?\nBOGUS\nSYST:ERR?\nsystem:error:next?\n")
        told = b""
        while told.count(b"\n") < 3:
            told += link.receive(1.0)
        assert told.decode().splitlines() == [
            "+5.000000E+00;+1.000000E+00", '-113,"Undefined header"', '+0,"No error"',
        ]  # fmt: skip
        link.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.0.0.5:5025", "no meter's address"),
        ("scpi+tcp://nowhere", "no host and port"),
        ("scpi+tcp://127.0.0.1:1", "can't be reached"),
        ("scpi+tcp://127.0.0.1:99999", "no host and port"),
        ("scpi+tcp://127.0.0.1:1?volts=*RST", "no question"),
        ("scpi+tcp://127.0.0.1:1?gain=2", "from 0 on"),
        ("scpi+serial:///dev/null?baud=fast", "give a number"),
        ("scpi+serial:///dev/nothing-there", "can't be reached"),
    ],
)
def test_addresses_that_are_none(address, said):
    with pytest.raises(UsageError, match=said):
        open_meter(address)


@pytest.mark.parametrize("address", ["scp+tcp://a:1", "scpi+udp://a:1", "scpi+tcp://a:1?gian=1"])
def test_unknown_names_are_met_with_the_known_ones(address):
    with pytest.raises(UnknownNameError):
        open_meter(address)


def test_what_does_not_speak_scpi_is_refused():
    with ScpiDouble(lambda: 1.0) as double:
        double._message = lambda text: "hello"  # answers everything alike
        with pytest.raises(UsageError, match="is no meter that speaks SCPI"):
            open_meter(double.address)


def test_other_packages_meters_are_found_by_their_name(monkeypatch):
    monkeypatch.setitem(METERS._entries, "toy", lambda address: address.upper())
    assert open_meter("toy+x://y") == "TOY+X://Y"


def test_a_thread_listens_and_tells_what_failed_apart():
    level, before = [1.0], host_now()
    with ScpiDouble(lambda: level[0]) as double:
        meter = open_meter(f"{double.address}?power=MEAS:POW?")
        with Listener(meter, 0.005) as listener:
            wait_for(lambda: len(listener.readings) > 5)
            double.nasty = "garbage"
            wait_for(lambda: any("errors" in one for one in listener.readings))
            double.nasty, level[0] = "", 2.0
            wait_for(lambda: listener.readings[-1]["raw"].get("power") == "+2.000000E+00")
        meter.close()
    told = listener.readings
    assert told[0]["raw"] == {"power": "+1.000000E+00"}
    assert before <= told[0]["t"] <= told[-1]["t"] <= host_now()
    assert all(one["took_ns"] > 0 for one in told)
    assert not [t for t in threading.enumerate() if t.name == "edgekit-meter"]


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
