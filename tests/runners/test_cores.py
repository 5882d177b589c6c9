"""Classes of cores and CPU numbers."""

import pytest

from edgekit.errors import UsageError
from edgekit.runners.cores import check_cores, cores_of
from edgekit.runners.facts import Cluster

ROCK = (("Cortex-A55", 1800),) * 4 + (("Cortex-A76", 2256),) * 2 + (("Cortex-A76", 2304),) * 2
PI = (("Cortex-A76", 2400),) * 4
BIG_LITTLE = (("Cortex-A53", 1900),) * 2 + (("Cortex-A73", 1900),) * 4


@pytest.mark.parametrize(
    ("cpus", "text", "numbers"),
    [
        (ROCK, "little", (0, 1, 2, 3)),
        (ROCK, "mid", (4, 5)),
        (ROCK, "big", (6, 7)),
        (BIG_LITTLE, "little", (0, 1)),
        (BIG_LITTLE, "big", (2, 3, 4, 5)),
        (PI, "", ()),
        (PI, "0-1,3", (0, 1, 3)),
        ((), "2", (2,)),
    ],
)
def test_what_is_meant(cpus, text, numbers):
    assert cores_of(cpus, text) == numbers


@pytest.mark.parametrize(
    ("cpus", "text", "said"),
    [
        (PI, "big", "no big cores (it has 4 x Cortex-A76)"),
        (BIG_LITTLE, "mid", "no mid cores"),
        (PI, "4", "no such CPUs: 4"),
        (PI, "3-1", "no such CPUs"),
        ((), "little", "none that it names"),
    ],
)
def test_what_there_is_not(cpus, text, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(").replace(")", r"\)")):
        cores_of(cpus, text)


def test_the_kernels_own_measure_goes_before_clocks_and_names():
    clusters = [
        Cluster(cpus=(4, 5), name="Cortex-A78", max_khz=2400000, capacity=900),
        Cluster(cpus=(0, 1, 2, 3), name="Cortex-A55", max_khz=2500000, capacity=300),
    ]
    cpus = (("Cortex-A55", 2500),) * 4 + (("Cortex-A78", 2400),) * 2
    assert cores_of(cpus, "big") == (0, 1, 2, 3)
    clusters.sort(key=lambda one: one.capacity)
    assert cores_of(cpus, "big", clusters=clusters) == (4, 5)
    with pytest.raises(UsageError, match=r"no mid cores \(it has 4 x Cortex-A55, 2 x Cortex-A78\)"):
        cores_of(cpus, "mid", clusters=clusters)


@pytest.mark.parametrize("text", ["huge", "0-", "1,,2", "-1", "0x1"])
def test_what_names_nothing(text):
    with pytest.raises(UsageError, match="names no cores"):
        check_cores(text)
