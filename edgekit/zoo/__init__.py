"""The zoo: compact networks from their papers, by name.

    FAMILY_SIZE[@RESOLUTION]        mobilenet_v1_0.25    mobilenet_v2_1.0@128

    mobilenet_v1_W       W: width multiplier, any decimal from 0.05 to 4.0
    mobilenet_v2_W       the same
    shufflenet_v1_Wx_gG  W: 0.5, 1.0, 1.5 or 2.0; G: groups, 1, 2, 3, 4 or 8
    shufflenet_v2_Wx     W: 0.5, 1.0, 1.5 or 2.0
    squeezenet_V         V: 1.0 or 1.1
    @RESOLUTION          side of the square input in pixels, 32 or more; 224 where it is left out

`zoo_names` is the curated part of that. Listing and describing it loads no framework.
"""

from __future__ import annotations

from edgekit.zoo.builder import build, describe, zoo_names
from edgekit.zoo.catalog import ENTRIES
from edgekit.zoo.entry import Entry
from edgekit.zoo.macs import count_macs
from edgekit.zoo.names import is_zoo_name

__all__ = ["ENTRIES", "Entry", "build", "count_macs", "describe", "is_zoo_name", "zoo_names"]
