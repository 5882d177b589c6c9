"""EdgeKit: from a compact network to a defended number on your own devices."""

from __future__ import annotations

from edgekit._version import __version__
from edgekit.artifact import Artifact, Parity, TensorSpec
from edgekit.bundle import Bundle
from edgekit.recipe import Recipe

__all__ = ["Artifact", "Bundle", "Parity", "Recipe", "TensorSpec", "__version__"]
