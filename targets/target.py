"""Targets, read from the TOML files of this folder or of a user; this package's head has the format."""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgekit.errors import UnknownNameError, UsageError
from edgekit.targets.device import SCHEMES
from edgekit.targets.table import Table, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEMS = ("linux", "android", "macos")
ABIS = ("aarch64", "armv7l", "x86_64", "arm64")
ANY = "any"
"""Stands for every system or ABI in a target that is recognized by its transport alone."""

FACTS = ("model", "soc", "board")
"""The facts that a file may match on; the package's head says where they are read."""

QUANTITIES = ("power", "temperature", "throttling")
FORMATS_OF = {"litert": ("tflite",), "onnxruntime": ("onnx",), "coreml": ("coreml",)}
"""The artifact formats that each runtime takes."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cores of one kind.

    Attributes:
        name: as their maker calls them ("Cortex-A76").
        count: how many.
        max_mhz: their highest stock clock in MHz, or None where it is not confirmed.
        features: what their instruction set has of "dotprod", "fp16", "i8mm", as far as it is sure.
    """

    name: str
    count: int
    max_mhz: int | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """Something that can be sampled there.

    Attributes:
        measures: one of QUANTITIES.
        source: a path (with wildcards) when it starts with "/", else a command.
        note: its units, its limits, its traps.
    """

    measures: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A kind of device. Passive: it can be printed, compared and stored; it reaches nothing.

    Attributes:
        name: its file's name, the user's word for it.
        title: its maker's name for it.
        soc: maker and name of the chip, or "" for a generic target.
        os: one of SYSTEMS, or ANY.
        abi: one of ABIS (uname's words), or ANY.
        transports: how it can be reached, the usual way first.
        runtimes: what executes artifacts there.
        memory_mib: the sizes that it is sold with, in MiB.
        supply_w: what the supply that its maker asks for gives at most, in W; None where it is not known.
        match: fact -> regular expression; empty for a generic target.
        cores: its clusters, the biggest cores first.
        sensors: what can be sampled there.
        sources: where these facts were read (https).
        note: what a user has to know.
    """

    name: str
    title: str
    soc: str = ""
    os: str
    abi: str
    transports: tuple[str, ...]
    runtimes: tuple[str, ...]
    memory_mib: tuple[int, ...] = ()
    supply_w: int | None = None
    match: Mapping[str, str] = field(default_factory=dict, hash=False)
    cores: tuple[Cluster, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    sources: tuple[str, ...] = ()
    note: str = ""

    @property
    def formats(self) -> tuple[str, ...]:
        """The artifact formats that it takes, which follow from its runtimes."""
        return tuple(format_ for runtime in self.runtimes for format_ in FORMATS_OF[runtime])

    @property
    def is_generic(self) -> bool:
        """Whether it stands for every device of its system and ABI that nothing more specific fits."""
        return not self.match

    def fits(self, facts: Mapping[str, str]) -> bool:
        """Return whether a device with these facts is of this kind; see `match_target`."""
        transport = facts.get("transport")
        reached = transport in self.transports if transport else self.transports != ("local",)
        return (
            reached
            and self._agrees("os", self.os, facts)
            and self._agrees("abi", self.abi, facts)
            and all(key in facts and re.search(pattern, facts[key]) for key, pattern in self.match.items())
        )

    def _agrees(self, key: str, own: str, facts: Mapping[str, str]) -> bool:
        if key in facts:
            return own in (ANY, facts[key])
        return own == ANY or not self.is_generic

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON's types, under the file's keys and `name`."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, where: str = "target") -> Self:
        """Read what `to_json` wrote, or a file with the key `name` added.

        Args:
            data: the table.
            where: the file's name, for messages.

        Raises:
            UsageError: a key is missing or of another type, a name or a regular expression is wrong.
        """
        table = Table(data, where, _keys(cls))
        return cls(
            name=table.text("name"),
            title=table.text("title"),
            soc=table.text("soc", ""),
            os=table.choice("os", (*SYSTEMS, ANY)),
            abi=table.choice("abi", (*ABIS, ANY)),
            transports=table.texts("transports", SCHEMES, needed=True),
            runtimes=table.texts("runtimes", FORMATS_OF, needed=True),
            memory_mib=table.counts("memory_mib"),
            supply_w=table.count_or_none("supply_w"),
            match=table.patterns("match", FACTS),
            cores=tuple(_cluster(inner) for inner in table.tables("cores", _keys(Cluster))),
            sensors=tuple(_sensor(inner) for inner in table.tables("sensors", _keys(Sensor))),
            sources=table.texts("sources"),
            note=table.text("note", ""),
        )


def target_names() -> tuple[str, ...]:
    """Return the names of EdgeKit's own targets, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_target(name_or_path: str) -> Target:
    """Read a target.

    Args:
        name_or_path: one of `target_names`, or the path of a TOML file (it ends with ".toml").

    Raises:
        UnknownNameError: no target has this name, or the file holds an unknown key or name.
        UsageError: the file can't be read, or something in it is missing or of another type.
    """
    if name_or_path.endswith(".toml"):
        return _read(Path(name_or_path), name_or_path)
    if name_or_path not in target_names():
        raise UnknownNameError("target", name_or_path, target_names())
    return _own(name_or_path)


def match_target(facts: Mapping[str, str]) -> Target | None:
    """Return the target that a device is of, or None.

    A target fits when its system, ABI and transports do not contradict the facts and all its regular
    expressions are found. A specific target goes before a generic one, which has no expressions: that
    one fits when the facts name its system and its ABI. `this-host` takes any system and ABI, and the
    fact `transport` has to say "local". An empty fact counts as one that is not there.

    Args:
        facts: `model`, `soc`, `board`, `os`, `abi`, `transport`, as far as they are known.

    Raises:
        UsageError: two targets fit, so that one of their files is wrong.
    """
    known = {key: value for key, value in facts.items() if value}
    fitting = [target for target in map(_own, target_names()) if target.fits(known)]
    best = [target for target in fitting if not target.is_generic] or fitting
    if len(best) > 1:
        names = " and ".join(target.name for target in best)
        raise UsageError(f"{names} both fit the device {known}", hint="name its target")
    return best[0] if best else None


@functools.cache
def _own(name: str) -> Target:
    return _read(_FOLDER / f"{name}.toml", f"{name}.toml")


def _read(path: Path, where: str) -> Target:
    data = read_toml(path)
    if "name" in data:
        raise UsageError(f"{where} holds the key 'name'", hint="a target is named by its file")
    return Target.from_json({"name": path.stem, **data}, where=where)


def _cluster(table: Table) -> Cluster:
    return Cluster(
        name=table.text("name"),
        count=table.count("count"),
        max_mhz=table.count_or_none("max_mhz"),
        features=table.texts("features", ("dotprod", "fp16", "i8mm")),
    )


def _sensor(table: Table) -> Sensor:
    return Sensor(
        measures=table.choice("measures", QUANTITIES),
        source=table.text("source"),
        note=table.text("note", ""),
    )


def _keys(kind: type[Any]) -> tuple[str, ...]:
    return tuple(spec.name for spec in fields(kind))
