"""Find a format's tensors in the calibration record: by what they hold, whatever they are called.

Converters rename, fuse and transpose. What stays is a tensor's number of elements and its smallest, largest
and mean value for each input: four numbers an input, over several inputs. Where two tensors of the record
fit, the one whose name is in the format's name is taken, then the later one: after the activation function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.methods import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np

    from edgekit.convert.ranges import CalibrationRecord, Prints

NEAR = 1e-3
"""Largest difference between two runtimes, as a share of the tensor's largest value; 1e-6 was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """What a format's own tensor holds.

    Attributes:
        size: how many elements.
        values: K x (smallest, largest, mean), one row an input of `Prints.inputs`.
    """

    size: int
    values: np.ndarray[Any, Any]


def prints_of(rows: Sequence[Mapping[str, tuple[int, float, float, float]]]) -> dict[str, Print]:
    """Return tensors' prints.

    Args:
        rows: (elements, smallest, largest, mean) by name, one row an input.
    """
    import numpy as np

    return {
        name: Print(size=size, values=np.array([row[name][1:] for row in rows]))
        for name, (size, *_) in rows[0].items()
    }


def summed_up(value: np.ndarray[Any, Any]) -> tuple[int, float, float, float]:
    """Return a tensor's elements, its smallest, largest and mean value."""
    return value.size, value.min(), value.max(), value.mean()


def ranges_of(
    record: CalibrationRecord,
    samples: np.ndarray[Any, Any],
    rows: Callable[[Any], Iterable[Mapping[str, tuple[int, float, float, float]]]],
    extremes: Callable[[list[str], np.ndarray[Any, Any]], Iterable[Mapping[str, tuple[float, float]]]],
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """Return the range of each tensor of a format's float form; see `ranges_for`.

    Args:
        record: of the float graph.
        samples: the calibration inputs.
        rows: runs the form on inputs, and gives what `prints_of` takes.
        extremes: runs it on inputs, and gives (low, high) of the named tensors for each.
    """
    first = () if record.prints is None else record.prints.inputs
    return ranges_for(record, prints_of(list(rows(first))), lambda names: extremes(names, samples))


def matched(prints: Prints, tensors: Mapping[str, Print]) -> dict[str, str]:
    """Return the record's tensor for each of a format's tensors; one that fits none is left out."""
    import numpy as np

    names = list(prints.sizes)
    sizes = np.array([prints.sizes[name] for name in names])
    values = np.stack([prints.values[name] for name in names])
    found = {}
    for name, tensor in tensors.items():
        reach = max(float(np.abs(tensor.values).max()), 1e-12)
        far = np.abs(values - tensor.values).max(axis=(1, 2)) / reach
        fitting = [names[i] for i in np.flatnonzero((sizes == tensor.size) & (far <= NEAR))]
        if fitting:
            parts = set(name.replace("/", ";").split(";")) | set(name.split(";"))
            named = [n for n in fitting if n in name.split(";") or n.rpartition("/")[2] in parts]
            found[name] = (named or fitting)[-1]
    return found


def ranges_for(
    record: CalibrationRecord,
    tensors: Mapping[str, Print],
    measure: Callable[[list[str]], Iterable[Mapping[str, tuple[float, float]]]],
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """Return the range of each of a format's tensors, and the names of those that the record lacks.

    Args:
        record: of the float graph.
        tensors: the format's, by name.
        measure: gives (low, high) of tensors for each calibration input; called for what the record lacks,
            which a converter made on its own.

    Raises:
        ValueError: the record was read from a file, which does not tell what tensors held.
    """
    if record.prints is None:
        raise ValueError("a record read from a file can't find a format's tensors")
    known = matched(record.prints, tensors)
    found = {name: record.ranges[of] for name, of in known.items()}
    lacking = [name for name in tensors if name not in known]
    tallies = {name: Tally() for name in lacking}
    for row in measure(lacking) if lacking else ():
        for name, (low, high) in row.items():
            tallies[name].see(low, high)
    found |= {name: tally.range("minmax") for name, tally in tallies.items()}
    return found, tuple(lacking)
