"""Which recipes a call means when it names none, or a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.recipe import Recipe, default_recipe_names, parse_recipes

if TYPE_CHECKING:
    from collections.abc import Sequence


def wanted(
    names: Sequence[str], *, target: str | None = None, calibrated: bool = False
) -> tuple[tuple[Recipe, ...], tuple[str, ...]]:
    """Return the recipes to make, and the names of those left out for want of calibration data.

    Args:
        names: as the user gave them; none for the default ones that can be made.
        target: only the formats that this target takes.
        calibrated: whether there is calibration data.

    Raises:
        UnknownNameError: a recipe or the target is not known.
        UsageError: a recipe is named that the target does not take, or nothing is left.
    """
    formats = _formats(target)
    recipes = parse_recipes(list(names) or list(default_recipe_names()))
    foreign = [r.name for r in recipes if formats is not None and r.format not in formats]
    if names and foreign:
        raise UsageError(
            f"{target} does not take {foreign[0]}", hint=f"it takes {', '.join(sorted(formats or ()))}"
        )
    taken = [r for r in recipes if r.name not in foreign]
    left_out = () if names else tuple(r.name for r in taken if r.needs_calibration and not calibrated)
    kept = tuple(r for r in taken if r.name not in left_out)
    if not kept:
        raise UsageError(f"no recipe is left for {target}", hint="give --calibrate DATA, or leave out --for")
    return kept, left_out


def _formats(target: str | None) -> frozenset[str] | None:
    if target is None:
        return None
    from edgekit.targets import load_target

    return frozenset(load_target(target).formats)
