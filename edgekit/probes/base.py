"""What a probe finds: what to read on a device, and how the raw text becomes watts.

A family (hwmon, IIO, RAPL ...) asks the device with a few lines of shell, reads the answer on the host and
describes every sensor as a `Watch`. A watch is plain data. The device gets the part that says what to read;
the run keeps the whole, so that its raw texts can be read again by anybody, without the family's code.

    raw text  -> numbers (by `reader`)  -> terms: scale x product of factors + offset  -> watts or joules
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from edgekit.artifact import checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.probes.ask import Told
    from edgekit.targets import Target

NOT_HERE = "not measurable here"
QUANTITIES = ("power", "energy")
COVERS = ("board", "unknown", "parts", "battery")
"""What of a device a sensor sees: its whole input, nobody knows, named parts, or its battery's output."""

FILE_PERIOD_S, COMMAND_PERIOD_S = 0.02, 0.25
"""How often files are read and commands run at most. A read over I2C takes 1 to 10 ms; a command forks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand: scale x the product of some numbers that were read.

    Attributes:
        factors: names of readings, multiplied.
        scale: what turns the product into watts (or joules).
        wrap: for energy, the product's value at which the counter begins anew; 0 when it never does.
    """

    factors: tuple[str, ...]
    scale: float
    wrap: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorError:
    """How wrong a sensor may be.

    Attributes:
        gain: largest relative error of the power (0.01 is 1 %), the shunt's tolerance included.
        offset_w: largest error that does not depend on the power, in watts.
        lsb_w: the step of the readings, in watts.
        origin: where these come from: a datasheet's words, or that they are taken for want of any.
    """

    gain: float
    offset_w: float = 0.0
    lsb_w: float = 0.0
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A sensor: what to read there and what it means.

    Attributes:
        family: the probe that found it.
        source: what it is and where, for people ("ina226 hwmon2 power1").
        covers: one of COVERS.
        quantity: "power" (an instant's or an interval's mean), or "energy" (a running total).
        reads: name -> absolute path on the device.
        commands: name -> argv on the device.
        meter: address of an external meter that the host reads; "" for a sensor of the device.
        reader: how raw texts become numbers, one of `read.READERS`.
        terms: what is summed to watts or joules.
        error: how wrong it may be.
        interval_s: how often the sensor itself has a new value; 0 where nobody knows.
        needs: name -> the texts one of which it must say, else the reading does not count.
        refusal: why readings that lack what they need do not count ("the battery is charging").
        settle: whether unit and sign are found from the readings themselves (a phone's battery).
        volts: the bus voltage when it was looked for, 0 where it is not known.
        limit_w: more than the device can draw, in watts; 0 where nobody knows.
        hint: what to mend when the power is over the limit.
        doubts: (code, value, limit, hint) of what is odd about the sensor itself.
    """

    family: str
    source: str
    covers: str = "unknown"
    quantity: str = "power"
    reads: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    meter: str = ""
    reader: str = "number"
    terms: tuple[Term, ...]
    error: SensorError
    interval_s: float = 0.0
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refusal: str = ""
    settle: bool = False
    volts: float = 0.0
    limit_w: float = 0.0
    hint: str = ""
    doubts: tuple[tuple[str, float, float, str], ...] = ()

    @property
    def period_s(self) -> float:
        """Seconds from one reading to the next: not oftener than the sensor changes, nor than is cheap."""
        return max(self.interval_s, COMMAND_PERIOD_S if self.commands else FILE_PERIOD_S)

    def to_json(self) -> dict[str, Any]:
        """Return the watch as JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: a key is unknown or missing.
        """
        values = checked(cls, data, "watch")
        values["terms"] = tuple(
            Term(**{**checked(Term, term, "term"), "factors": tuple(term["factors"])})
            for term in data["terms"]
        )
        values["error"] = SensorError(**checked(SensorError, data["error"], "sensor error"))
        for name in ("commands", "needs"):
            values[name] = {key: tuple(texts) for key, texts in data.get(name, {}).items()}
        values["doubts"] = tuple(tuple(doubt) for doubt in data.get("doubts", ()))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A sensor that is there and can't be used, and why."""

    family: str
    reason: str


class Probe(Protocol):
    """A family of sensors.

    `script` is POSIX sh, run on the device among those of the other families; in it `f PATH...` tells files,
    `c NAME COMMAND...` tells what a command says, `$r` stands before every absolute path. It reads only.
    """

    name: str

    def script(self) -> str:
        """Return the lines of shell that ask for what `find` needs."""

    def find(self, told: Told, target: Target | None) -> Sequence[Watch | Refusal]:
        """Return the sensors of this family, and those that can't be used; none is an empty sequence."""
