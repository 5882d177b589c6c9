"""Sensors on an I2C bus, as their registers: what a test sets is what the board's own drivers read.

Texas Instruments' data sheets: INA226 SBOS547 (registers 0 to 7, FEh, FFh), INA219 SBOS448 (0 to 5), TMP102
SBOS397 (0 to 3).
"""

from __future__ import annotations

import random
import struct
import threading
import time
from typing import Protocol

_CELSIUS_LSB = 0.0625
_RESET, _EXTENDED, _CONVERTED = 0x8000, 0x10, 0x0008


class Chip(Protocol):
    """What answers at one address of a bus."""

    def write(self, data: bytes) -> None:
        """Take the bytes of a write transfer."""

    def read(self, count: int) -> bytes:
        """Return the bytes of a read transfer."""


class Supply:
    """What feeds the board: a voltage, and a current that the test steps; what it gave is known.

    Args:
        volts: of the bus.
        amps: at first.
        ripple: share of the current by which each look at it is off, either way; without any a sensor would
            say the same for seconds, which none does, and would pass for a frozen one.
    """

    def __init__(self, volts: float = 5.1, amps: float = 0.6, *, ripple: float = 0.005) -> None:
        self.volts = volts
        self._ripple = ripple
        self._noise = random.Random(5)  # noqa: S311  no secret
        self._lock = threading.Lock()
        self._steps = [(time.monotonic(), amps)]

    @property
    def amps(self) -> float:
        """The current at this instant."""
        return self._steps[-1][1] * (1 + self._noise.uniform(-self._ripple, self._ripple))

    @property
    def steps(self) -> tuple[tuple[float, float], ...]:
        """Every step of the current: (seconds of `time.monotonic`, amperes)."""
        with self._lock:
            return tuple(self._steps)

    def step(self, amps: float) -> None:
        """Let another current flow from now on."""
        with self._lock:
            self._steps.append((time.monotonic(), amps))

    def joules(self, begin: float, end: float) -> float:
        """Return the energy given between two times of `time.monotonic`."""
        steps = self.steps
        ends = [*(when for when, _ in steps[1:]), float("inf")]
        spans = (
            (min(until, end) - max(since, begin), amps)
            for (since, amps), until in zip(steps, ends, strict=True)
        )
        return self.volts * sum(amps * seconds for seconds, amps in spans if seconds > 0)


class _Registers:
    """Sixteen-bit registers behind a pointer, the high byte first, as both chips have them."""

    def __init__(self, values: dict[int, int]) -> None:
        self._values = values
        self._pointer = 0

    def write(self, data: bytes) -> None:
        """Set the pointer, and the register where two more bytes follow."""
        if data:
            self._pointer = data[0]
        if len(data) >= 3:
            self._set(self._pointer, int.from_bytes(data[1:3], "big"))

    def read(self, count: int) -> bytes:
        """Return the register at the pointer."""
        value = struct.pack(">H", self._get(self._pointer) & 0xFFFF)
        return (value * (count // 2 + 1))[:count]

    def _set(self, register: int, value: int) -> None:
        self._values[register] = value

    def _get(self, register: int) -> int:
        return self._values.get(register, 0)


class PowerMonitor(_Registers):
    """What INA219 and INA226 have in common: a shunt's voltage, the bus's, and their product.

    Args:
        supply: what flows through the shunt.
        shunt_ohm: of the shunt that is really there; the driver has to be told.
        reset: its configuration at first.

    Attributes:
        readings: when its power was read, in seconds of `time.monotonic`.
    """

    shunt_lsb_v, bus_lsb_v = 2.5e-6, 1.25e-3
    full_scale, bus_shift, bus_flags, power_divisor = 2048, 0, 0, 20000

    def __init__(self, supply: Supply, *, shunt_ohm: float, reset: int) -> None:
        super().__init__({0: reset})
        self._supply = supply
        self._shunt_ohm = shunt_ohm
        self._reset = reset
        self.readings: list[float] = []

    def _set(self, register: int, value: int) -> None:
        if register == 0 and value & _RESET:
            self._values |= {0: self._reset, 5: 0}
        else:
            super()._set(register, value)

    def _get(self, register: int) -> int:
        shunt = _clamped(round(self._supply.amps * self._shunt_ohm / self.shunt_lsb_v))
        bus = round(self._supply.volts / self.bus_lsb_v)
        current = _clamped(shunt * self._values.get(5, 0) // self.full_scale)
        if register == 3:
            self.readings.append(time.monotonic())
        power = abs(current) * bus // self.power_divisor
        measured = {1: shunt, 2: bus << self.bus_shift | self.bus_flags, 3: power, 4: current}
        return measured.get(register, super()._get(register))


class Ina226(PowerMonitor):
    """Sixteen bits; boards carry shunts from 2 to 100 mOhm."""

    def __init__(self, supply: Supply, *, shunt_ohm: float = 0.010) -> None:
        super().__init__(supply, shunt_ohm=shunt_ohm, reset=0x4127)
        self._values |= {0xFE: 0x5449, 0xFF: 0x2260}

    def _get(self, register: int) -> int:
        return super()._get(register) | (_CONVERTED if register == 6 else 0)


class Ina219(PowerMonitor):
    """Twelve bits; the common module's shunt has 100 mOhm."""

    shunt_lsb_v, bus_lsb_v = 10e-6, 4e-3
    full_scale, bus_shift, bus_flags, power_divisor = 4096, 3, 2, 5000  # flag 2: a conversion is ready

    def __init__(self, supply: Supply, *, shunt_ohm: float = 0.100) -> None:
        super().__init__(supply, shunt_ohm=shunt_ohm, reset=0x399F)


class Tmp102(_Registers):
    """A thermometer.

    Attributes:
        celsius: what it feels.
    """

    def __init__(self, celsius: float = 45.5) -> None:
        super().__init__({1: 0x60A0, 2: 0x4B00, 3: 0x5000})
        self.celsius = celsius

    def _get(self, register: int) -> int:
        if register:
            return super()._get(register)
        return round(self.celsius / _CELSIUS_LSB) << (3 if self._values[1] & _EXTENDED else 4)


def _clamped(value: int) -> int:
    return max(-0x8000, min(0x7FFF, value))
