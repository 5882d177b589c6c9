"""The same program has the same names, whichever numbers coremltools gave its constants."""

from __future__ import annotations

import re

import pytest

from edgekit.convert.coreml_names import number_constants

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
