"""Sources in, one frozen graph out.

load_source("mobilenet_v2_0.35")  ->  Source  ->  freeze(source)  ->  FrozenGraph
source_from_torch(module, example)  ->  Source
"""

from __future__ import annotations

from edgekit.source.freezing import freeze
from edgekit.source.load import load_source, source_kind
from edgekit.source.torch_module import source_from_torch
from edgekit.source.types import FrozenGraph, Source

__all__ = ["FrozenGraph", "Source", "freeze", "load_source", "source_from_torch", "source_kind"]
