"""The grammar of zoo names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import zoo
from edgekit.errors import UnknownNameError, UsageError
from edgekit.zoo import names
from edgekit.zoo.names import Spec, parse

_MOBILE = st.builds(
    Spec,
    family=st.sampled_from(["mobilenet_v1", "mobilenet_v2"]),
    width=st.integers(1, 80).map(lambda twentieths: twentieths / 20),
    resolution=st.integers(32, 640),
)
_SHUFFLE = st.builds(
    Spec,
    family=st.just("shufflenet_v1"),
    width=st.sampled_from(names.SHUFFLE_WIDTHS),
    groups=st.sampled_from(names.SHUFFLE_GROUPS),
    resolution=st.integers(32, 640),
)


@given(st.one_of(_MOBILE, _SHUFFLE))
def test_a_name_says_all_of_its_spec(spec):
    assert parse(spec.name, ()) == spec
    assert zoo.is_zoo_name(spec.name)


@pytest.mark.parametrize(
    ("given_name", "canonical"),
    [
        ("mobilenet_v1_0.50", "mobilenet_v1_0.5"),
        ("mobilenet_v1_0.25@224", "mobilenet_v1_0.25"),
        ("mobilenet_v2_1.0@128", "mobilenet_v2_1.0@128"),
        ("shufflenet_v1_1.0x_g3", "shufflenet_v1_1.0x_g3"),
        ("shufflenet_v2_2.00x@96", "shufflenet_v2_2.0x@96"),
        ("squeezenet_1.1@65", "squeezenet_1.1@65"),
    ],
)
def test_a_name_has_one_canonical_form(given_name, canonical):
    assert parse(given_name, ()).name == canonical


@pytest.mark.parametrize("name", zoo.zoo_names())
def test_every_curated_name_is_canonical(name):
    assert zoo.is_zoo_name(name)
    assert parse(name, ()).name == name


@pytest.mark.parametrize(
    ("wrong", "offered"),
    [
        ("mobilenet_v1_0.25x", "mobilenet_v1_0.25"),
        ("mobilnet_v2_1.0", "mobilenet_v2_1.0"),
        ("squeezenet_1.2", "squeezenet_1."),
        ("shufflenet_v2_1.0", "shufflenet_v2_1.0x"),
        ("shufflenet_v2_0.7x", "shufflenet_v2_0.5x"),
        ("shufflenet_v1_1.0x_g5", "shufflenet_v1_1.0x_g"),
        ("shufflenet_v1_1.0x_g0", "shufflenet_v1_1.0x_g"),
        ("MobileNet_v1_1.0", "mobilenet_v1_1.0"),
    ],
)
def test_an_unknown_name_offers_the_nearest(wrong, offered):
    with pytest.raises(UnknownNameError, match="unknown network") as caught:
        zoo.describe(wrong)
    assert offered in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "mobilenet", "network.keras", "mobilenet_v1_1", "squeezenet_1.1@", "a@b"]
)
def test_other_texts_are_no_zoo_names(text):
    assert not zoo.is_zoo_name(text)


@pytest.mark.parametrize("name", ["mobilenet_v1_1.0@31", "squeezenet_1.1@0", "shufflenet_v2_1.0x@8"])
def test_too_small_a_resolution_is_a_usage_error(name):
    assert zoo.is_zoo_name(name)
    with pytest.raises(UsageError, match="give 32 or more"):
        zoo.describe(name)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.0", "mobilenet_v2_4.5"])
def test_too_odd_a_width_is_a_usage_error(name):
    with pytest.raises(UsageError, match=r"width outside 0\.05 to 4\.0"):
        zoo.build(name)


def test_the_package_prints_the_same_grammar():
    lines = [line.strip() for line in names.__doc__.splitlines() if line.startswith("    ")]
    assert len(lines) == 7
    assert [line.strip() for line in zoo.__doc__.splitlines() if line.startswith("    ")] == lines
