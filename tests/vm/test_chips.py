"""The virtual board's sensors and its USB adapter, as registers and packets: no board is needed."""

import socket
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.testing.vm_chips import Ina219, Ina226, Supply, Tmp102
from edgekit.testing.vm_usb import I2cAdapter, bind

SETUP, WAIT_S = struct.Struct("<BBBBHHH"), 20


def word(chip, register):
    chip.write(bytes((register,)))
    return int.from_bytes(chip.read(2), "big")


@given(st.floats(0, 30), st.floats(0, 8))
def test_an_ina226_tells_what_flows(volts, amps):
    """By its data sheet: 1.25 mV, 2.5 uV over the shunt, power in 25 x the current's step."""
    chip = Ina226(Supply(volts, amps, ripple=0))
    chip.write(bytes((5, 2048 >> 8, 0)))
    assert word(chip, 2) * 1.25e-3 == pytest.approx(volts, abs=0.7e-3)
    assert word(chip, 1) * 2.5e-6 == pytest.approx(amps * 0.010, abs=1.3e-6)
    assert word(chip, 4) * 0.25e-3 == pytest.approx(amps, abs=0.2e-3)
    assert word(chip, 3) * 6.25e-3 == pytest.approx(volts * amps, rel=0.002, abs=0.02)
    assert (word(chip, 0xFE), word(chip, 0xFF)) == (0x5449, 0x2260)
    assert len(chip.readings) == 1


@given(st.floats(0, 16), st.floats(0, 3))
def test_an_ina219_has_other_steps(volts, amps):
    """By its data sheet: 4 mV from bit 3 on, 10 uV over the shunt, power in 20 x the current's step."""
    chip = Ina219(Supply(volts, amps, ripple=0))
    chip.write(bytes((5, 4096 >> 8, 0)))
    assert (word(chip, 2) >> 3) * 4e-3 == pytest.approx(volts, abs=2.1e-3)
    assert word(chip, 1) * 10e-6 == pytest.approx(amps * 0.1, abs=5.1e-6)
    assert word(chip, 3) * 2e-3 == pytest.approx(volts * amps, rel=0.002, abs=0.01)


def test_a_reset_forgets_the_calibration():
    chip = Ina226(Supply(5, 1))
    chip.write(bytes((5, 8, 0)))
    assert word(chip, 4) > 0
    chip.write(bytes((0, 0x80, 0)))
    assert (word(chip, 0), word(chip, 4)) == (0x4127, 0)


def test_more_than_a_register_holds_is_its_largest_value():
    assert word(Ina226(Supply(5, 1000)), 1) == 0x7FFF


@pytest.mark.parametrize(
    ("celsius", "extended", "told"), [(25, 0, 0x1900), (-25, 0, 0xE700), (150, 1, 0x4B00)]
)
def test_a_tmp102_counts_sixteenths(celsius, extended, told):
    chip = Tmp102(celsius)
    chip.write(bytes((1, 0x60, 0xB0 if extended else 0xA0)))
    assert word(chip, 0) == told


def test_a_supply_knows_what_it_gave():
    supply = Supply(10.0, 1.0, ripple=0)
    begin = supply.steps[0][0]
    time.sleep(0.01)
    supply.step(3.0)
    (_, _), (at, amps) = supply.steps
    assert (amps, supply.amps) == (3.0, 3.0)
    assert supply.joules(begin, at) == pytest.approx(10 * (at - begin))
    assert supply.joules(at - 1e-3, at + 1) == pytest.approx(10 * 1e-3 + 30)
    assert supply.joules(at, at) == 0


def test_a_supply_ripples_around_its_level():
    told = [Supply(5, 2.0).amps for _ in range(3)]
    supply = Supply(5, 2.0)
    looks = [supply.amps for _ in range(2000)]
    assert told == [told[0]] * 3  # seeded
    assert len(set(looks)) > 1900
    assert sum(looks) / len(looks) == pytest.approx(2.0, rel=1e-3)
    assert max(abs(look - 2.0) for look in looks) <= 0.01


class Qemu:
    """What QEMU does at the other end: connects, greets, and sends control transfers."""

    def __init__(self):
        self.asked, self.wire = [], socket.socket(socket.AF_UNIX)
        self.wire.settimeout(WAIT_S)

    def ask(self, command, **arguments):
        self.asked.append(command)
        if command == "chardev-add":
            self.wire.connect(arguments["backend"]["data"]["addr"]["data"]["path"])

    def packet(self, form="<IIQ"):
        kind, length, number = struct.unpack(form, self.exactly(struct.calcsize(form)))
        return kind, number, self.exactly(length)

    def exactly(self, count):
        return self.wire.recv(count, socket.MSG_WAITALL) if count else b""

    def greet(self):
        assert self.packet("<III")[0] == 0
        self.wire.sendall(struct.pack("<III", 0, 68, 0) + bytes(68))
        kinds = [self.packet()[0] for _ in range(3)]
        assert kinds == [4, 5, 1]  # interfaces, endpoints, connected

    def control(self, kind, request, *, value=0, index=0, length=0, data=b""):
        """Return status and data of a control transfer."""
        body = SETUP.pack(kind & 0x80, request, kind, 0, value, index, length or len(data)) + data
        self.wire.sendall(struct.pack("<IIQ", 100, len(body), 7) + body)
        answered, number, told = self.packet()
        assert (answered, number) == (100, 7)
        return SETUP.unpack(told[:10])[3], told[10:]


@pytest.fixture
def qemu(tmp_path):
    adapter, qemu = I2cAdapter({0x48: Tmp102(25)}, tmp_path), Qemu()
    adapter.plug_in(qemu)
    assert qemu.asked == ["chardev-add", "device_add"]
    qemu.greet()
    yield qemu
    adapter.close()
    adapter.close()
    qemu.wire.close()


def test_an_adapter_says_what_it_is(qemu):
    status, device = qemu.control(0x80, 6, value=1 << 8, length=18)
    assert (status, device[8:12]) == (0, bytes((0x03, 0x04, 0x31, 0xC6)))
    assert qemu.control(0x80, 6, value=2 << 8, length=9)[1][2:4] == bytes((18, 0))
    assert qemu.control(0x80, 6, value=3 << 8 | 1, length=255)[1][2:].decode("utf-16le") == "EdgeKit"
    assert qemu.control(0x80, 6, value=3 << 8 | 9, length=255) == (4, b"")  # stalled
    assert qemu.control(0xC0, 1, length=4) == (0, struct.pack("<I", 0x0EFF0001))


def test_transfers_reach_the_chip_at_their_address(qemu):
    assert qemu.control(0x40, 5, index=0x48, data=b"\0") == (0, b"")
    assert qemu.control(0xC0, 6, value=1, index=0x48, length=2) == (0, b"\x19\x00")
    assert qemu.control(0xC0, 3, length=1) == (0, b"\x01")  # acknowledged
    qemu.control(0x40, 5, index=0x50, data=b"\0")
    assert qemu.control(0xC0, 3, length=1) == (0, b"\x02")  # nobody is there


def test_the_kernel_is_told_of_the_chips():
    script = bind({"tmp102": 0x48, "ina226": 0x40}, bus="/bus")
    assert script.splitlines()[1:] == [
        "echo tmp102 0x48 > /bus/new_device",
        "echo ina226 0x40 > /bus/new_device",
    ]
