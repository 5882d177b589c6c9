"""The same program has the same names, whichever numbers coremltools gave its constants."""

from __future__ import annotations

import itertools
import re

import pytest

from edgekit.artifact import digest
from edgekit.convert.base import Work
from edgekit.convert.coreml import CONVERTER
from edgekit.convert.coreml_names import number_constants
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert


def spec_of(made):
    from edgekit.convert.mil.evaluate import read_spec

    return read_spec(made.bundle.path_of(made.bundle.artifact("coreml-fp16")))


def operations(spec):
    function = spec.mlProgram.functions["main"]
    return next(iter(function.block_specializations.values())).operations


def names(spec):
    return [output.name for operation in operations(spec) for output in operation.outputs]


def renumbered(spec, number):
    """Give every constant another number, wherever it is named."""

    def other(name):
        return re.sub(r"^const_(\d+)", lambda found: f"const_{number(int(found[1]))}", name)

    for operation in operations(spec):
        for value in operation.inputs.values():
            for argument in value.arguments:
                if argument.name:
                    argument.name = other(argument.name)
        for output in operation.outputs:
            output.name = other(output.name)
        strings = operation.attributes["name"].immediateValue.tensor.strings.values
        strings[:] = [other(name) for name in strings]
    return spec


@pytest.mark.parametrize("number", [lambda n: n + 100, lambda n: 999 - n, lambda n: n * 7 + 1])
def test_numbers_do_not_depend_on_those_that_were_given(number, made):
    settled = spec_of(made)
    changed = renumbered(spec_of(made), number)
    assert names(changed) != names(settled)
    number_constants(changed)
    assert changed.SerializeToString(deterministic=True) == settled.SerializeToString(deterministic=True)


def test_a_written_program_is_settled_and_every_name_is_its_own(made):
    settled = spec_of(made)
    found = names(settled)
    assert any(name.startswith("const_") for name in found)
    assert len(set(found)) == len(found)
    before = settled.SerializeToString(deterministic=True)
    number_constants(settled)
    assert settled.SerializeToString(deterministic=True) == before


def test_what_reads_a_constant_still_reads_it(made):
    settled = spec_of(made)
    known = {value.name for value in settled.mlProgram.functions["main"].inputs}
    for operation in operations(settled):
        for value in operation.inputs.values():
            assert {a.name for a in value.arguments if a.name} <= known
        known |= {output.name for output in operation.outputs}


@pytest.fixture
def ordered(monkeypatch):
    """Make sets of coremltools' objects go by a rule instead of by their addresses."""
    mil = pytest.importorskip("coremltools.converters.mil.mil", reason="the convert extra is not installed")
    seen = {}
    counter = itertools.count(1)
    rule = [lambda number: number]

    def hashed(self):
        _, number = seen.setdefault(id(self), (self, None))
        if number is None:
            number = next(counter)
            seen[id(self)] = (self, number)
        return rule[0](number)

    for kind in (mil.Var, mil.Operation):
        monkeypatch.setattr(kind, "__hash__", hashed)

    def use(function):
        seen.clear()
        rule[0] = function

    return use


def written(source, precision, path, *, before=()):
    with quiet():
        work = Work(frozen=freeze(source))
        for other in before:
            CONVERTER.convert(work, other, path.with_name(f"{path.stem}-{other}.mlpackage"))
        CONVERTER.convert(work, precision, path)
    return digest(path)[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8"])
def test_names_do_not_depend_on_what_was_converted_before(precision, source, tmp_path):
    from coremltools.converters.mil.mil import Builder

    Builder.name_count.clear()
    alone = written(source, precision, tmp_path / "alone.mlpackage")
    for kind in ("transpose", "const", "cast", "conv", "linear", "relu6"):
        Builder.name_count[kind] += 17
    counted = written(source, precision, tmp_path / "counted.mlpackage")
    after = written(source, precision, tmp_path / "after.mlpackage", before=("p4", "fp32"))
    assert (counted, after) == (alone, alone)


def test_bytes_do_not_depend_on_the_order_of_addresses(ordered, tmp_path):
    """Channel shuffles become transposes, and coremltools keeps those that it moves in sets."""
    shuffled = load_source("shufflenet_v1_1.0x_g3", resolution=32, classes=10)
    ordered(lambda number: number)
    first = written(shuffled, "fp16", tmp_path / "first.mlpackage")
    ordered(lambda number: number * 40503 % 65521)
    assert written(shuffled, "fp16", tmp_path / "second.mlpackage") == first
