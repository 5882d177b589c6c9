"""A zoo name says which network, how wide, and at which resolution:

    FAMILY_SIZE[@RESOLUTION]        mobilenet_v1_0.25    mobilenet_v2_1.0@128

    mobilenet_v1_W       W: width multiplier, any decimal from 0.05 to 4.0
    mobilenet_v2_W       the same
    shufflenet_v1_Wx_gG  W: 0.5, 1.0, 1.5 or 2.0; G: groups, 1, 2, 3, 4 or 8
    shufflenet_v2_Wx     W: 0.5, 1.0, 1.5 or 2.0
    squeezenet_V         V: 1.0 or 1.1
    @RESOLUTION          side of the square input in pixels, 32 or more; 224 where it is left out

The same text stands in the package's own docstring; a test holds them together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgekit.errors import UnknownNameError, UsageError

DEFAULT_RESOLUTION = 224
MIN_RESOLUTION = 32
WIDTH_RANGE = (0.05, 4.0)
SHUFFLE_WIDTHS = (0.5, 1.0, 1.5, 2.0)
SHUFFLE_GROUPS = (1, 2, 3, 4, 8)
SQUEEZE_VERSIONS = ("1.0", "1.1")

_GRAMMAR = re.compile(
    r"(?:(?P<mobile>mobilenet_v[12])_(?P<width>\d+\.\d+)"
    r"|shufflenet_v1_(?P<v1_width>\d+\.\d+)x_g(?P<groups>\d+)"
    r"|shufflenet_v2_(?P<v2_width>\d+\.\d+)x"
    r"|squeezenet_(?P<version>\d+\.\d+))"
    r"(?:@(?P<resolution>\d+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a zoo name says, checked when made.

    Attributes:
        family: "mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2" or "squeezenet".
        width: the width multiplier; 1.0 for SqueezeNet.
        groups: of ShuffleNet v1's 1x1 convolutions; 0 for the other families.
        version: of SqueezeNet; "" for the other families.
        resolution: side of the square input, pixels.
    """

    family: str
    width: float = 1.0
    groups: int = 0
    version: str = ""
    resolution: int = DEFAULT_RESOLUTION

    def __post_init__(self) -> None:
        if self.resolution < MIN_RESOLUTION:
            raise UsageError(
                f"{self.base} can't take {self.resolution} x {self.resolution} pixels",
                hint=f"its stages halve the input five times: give {MIN_RESOLUTION} or more",
            )
        low, high = WIDTH_RANGE
        if self.family.startswith("mobilenet") and not low <= self.width <= high:
            raise UsageError(
                f"{self.base} has a width outside {low} to {high}", hint="published widths lie in 0.25 to 1.4"
            )

    @property
    def base(self) -> str:
        """The canonical name without its resolution."""
        match self.family:
            case "squeezenet":
                return f"squeezenet_{self.version}"
            case "shufflenet_v1":
                return f"shufflenet_v1_{self.width}x_g{self.groups}"
            case "shufflenet_v2":
                return f"shufflenet_v2_{self.width}x"
            case _:
                return f"{self.family}_{self.width}"

    @property
    def name(self) -> str:
        """The canonical name: the resolution is there only where it isn't 224."""
        suffix = "" if self.resolution == DEFAULT_RESOLUTION else f"@{self.resolution}"
        return self.base + suffix

    def at(self, resolution: int) -> Spec:
        """Return the same network at another resolution (pixels)."""
        return replace(self, resolution=resolution)


def is_zoo_name(name: str) -> bool:
    """Say whether a text has the form of a zoo name; whether there is such a network, `parse` knows."""
    return _GRAMMAR.fullmatch(name) is not None


def has_resolution(name: str) -> bool:
    """Say whether a zoo name carries its resolution."""
    return "@" in name


def parse(name: str, known: tuple[str, ...]) -> Spec:
    """Read a zoo name.

    Args:
        name: as the user gives it.
        known: the curated names, of which the nearest is offered.

    Raises:
        UnknownNameError: no network has this name.
        UsageError: the network exists, but not that small or that wide.
    """
    found = _GRAMMAR.fullmatch(name)
    if found is None:
        raise UnknownNameError("network", name, known)
    part = found.groupdict()
    resolution = int(part["resolution"] or DEFAULT_RESOLUTION)
    if part["mobile"]:
        return Spec(family=part["mobile"], width=float(part["width"]), resolution=resolution)
    if part["version"] in SQUEEZE_VERSIONS:
        return Spec(family="squeezenet", version=part["version"], resolution=resolution)
    width = float(part["v1_width"] or part["v2_width"] or 0)
    groups = int(part["groups"] or 0)
    if width not in SHUFFLE_WIDTHS or (groups and groups not in SHUFFLE_GROUPS) or part["groups"] == "0":
        raise UnknownNameError("network", name, known)
    family = "shufflenet_v1" if part["v1_width"] else "shufflenet_v2"
    return Spec(family=family, width=width, groups=groups, resolution=resolution)
