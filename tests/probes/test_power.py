"""Power says why it is not measured, and never a number."""

import pytest

from edgekit.probes.power import unavailable
from edgekit.targets import load_target, target_names


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"emulated": "qemu-user"}, "an emulated device (qemu-user) draws no power of its own"),
        ({"emulated": "fake"}, "there is no device"),
        ({"emulated": ""}, "no sensor that EdgeKit can read"),
        ({}, "no sensor that EdgeKit can read"),
    ],
)
def test_the_reason_holds_for_the_device(facts, said):
    assert unavailable(facts) == f"not measurable here: {said}"


@pytest.mark.parametrize("name", target_names())
def test_a_target_with_a_sensor_is_told_so(name):
    target = load_target(name)
    sources = [sensor.source for sensor in target.sensors if sensor.measures == "power"]
    said = unavailable({"emulated": ""}, target)
    assert said.startswith("not measurable here: no sensor")
    assert (sources[0] in said) if sources else ("may have" not in said)
