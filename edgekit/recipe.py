"""A recipe says what a source shall become. Its name can be read:

FORMAT-PRECISION        tflite-int8   onnx-fp16   coreml-fp32

FORMAT     tflite | onnx | coreml
PRECISION  fp32   weights and activations in 32-bit floats
           fp16   weights in 16-bit floats (onnx, coreml: activations too)
           int8   full integer: weights per channel, activations per tensor, calibrated
           w8u8   the same with unsigned activations, which some runtimes are faster with
           w8a16  8-bit weights, 16-bit integer activations, calibrated; float32 in and out
           dyn8   8-bit weights, activations quantized as they come; float32 in and out
           w8     8-bit weights, made floats again before they are used; float32 in and out
           w8a8   8-bit weights per channel, 8-bit activations per tensor, calibrated; float32 in and out
           p4     weights from a palette of 2^4 values a tensor; float32 in and out; p6, p8: 2^6, 2^8

           format   made when no recipe is named   when named
           tflite   fp32 fp16 int8                 w8a16 dyn8 w8
           onnx     fp32 fp16 int8                 w8u8 dyn8
           coreml   fp32 fp16 w8a8                 w8 p4 p6 p8
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UnknownNameError, UsageError

PRECISIONS: dict[str, tuple[str, ...]] = {
    "tflite": ("fp32", "fp16", "int8", "w8a16", "dyn8", "w8"),
    "onnx": ("fp32", "fp16", "int8", "w8u8", "dyn8"),
    "coreml": ("fp32", "fp16", "w8a8", "w8", "p4", "p6", "p8"),
}
"""The precisions of each format, in the order in which they are listed."""
DEFAULTS = ("fp32", "fp16", "int8", "w8a8")
"""The precisions that are made when no recipe is named, in every format that has them."""
CALIBRATED = ("int8", "w8u8", "w8a16", "w8a8")
"""The precisions that need activation ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a source shall become: data, with a name that can be read.

    Attributes:
        format: "tflite", "onnx" or "coreml".
        precision: one of PRECISIONS[format].
    """

    format: str
    precision: str

    def __post_init__(self) -> None:
        if self.format not in PRECISIONS:
            raise UnknownNameError("format", self.format, PRECISIONS)
        if self.precision not in PRECISIONS[self.format]:
            raise UnknownNameError("recipe", self.name, recipe_names())

    @property
    def name(self) -> str:
        """The recipe's name, as `parse` reads it."""
        return f"{self.format}-{self.precision}"

    @property
    def needs_calibration(self) -> bool:
        """Whether activation ranges have to be measured on data."""
        return self.precision in CALIBRATED

    @classmethod
    def parse(cls, name: str) -> Recipe:
        """Read a recipe's name.

        Raises:
            UnknownNameError: no recipe has this name; the nearest one is offered.
        """
        if name not in recipe_names():
            raise UnknownNameError("recipe", name, recipe_names())
        format_, _, precision = name.partition("-")
        return cls(format=format_, precision=precision)


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, format by format."""
    return tuple(f"{format_}-{precision}" for format_, all_ in PRECISIONS.items() for precision in all_)


def default_recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that are made when none is named."""
    return tuple(f"{format_}-{p}" for format_, all_ in PRECISIONS.items() for p in all_ if p in DEFAULTS)


def parse_recipes(names: list[str] | tuple[str, ...]) -> tuple[Recipe, ...]:
    """Read several names; none twice.

    Raises:
        UsageError: a name is given twice, or is not known.
    """
    recipes = tuple(Recipe.parse(name) for name in names)
    doubles = sorted({r.name for r in recipes if recipes.count(r) > 1})
    if doubles:
        raise UsageError(f"recipe {doubles[0]!r} is asked for twice", hint="name each recipe once")
    return recipes
