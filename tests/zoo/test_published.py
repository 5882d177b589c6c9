"""What others published: each figure beside the name and the resolution that it belongs to."""

import pytest

from edgekit import zoo
from edgekit.zoo.names import parse
from edgekit.zoo.published import WeightsFile, published_top1, published_weights, with_weights

SLIM = {
    "mobilenet_v1_1.0@192": 70.0,
    "mobilenet_v1_1.0@160": 68.0,
    "mobilenet_v1_1.0@128": 65.2,
    "mobilenet_v1_0.75@192": 67.2,
    "mobilenet_v1_0.75@128": 62.1,
    "mobilenet_v1_0.5": 63.3,
    "mobilenet_v1_0.5@160": 59.1,
    "mobilenet_v1_0.25@192": 47.7,
    "mobilenet_v1_0.25@128": 41.5,
    "mobilenet_v2_1.4": 75.0,
    "mobilenet_v2_1.3": 74.4,
    "mobilenet_v2_1.0@192": 70.7,
    "mobilenet_v2_1.0@96": 60.3,
    "mobilenet_v2_0.75@160": 66.4,
    "mobilenet_v2_0.5@128": 57.7,
    "mobilenet_v2_0.35@96": 45.5,
}

# Table 2 of arXiv 1707.01083 prints errors in percent.
SHUFFLE_V1_ERRORS = {
    "shufflenet_v1_1.0x_g1": 33.6,
    "shufflenet_v1_1.0x_g2": 32.7,
    "shufflenet_v1_1.0x_g4": 32.8,
    "shufflenet_v1_0.5x_g1": 45.1,
    "shufflenet_v1_0.5x_g2": 44.4,
    "shufflenet_v1_0.5x_g4": 41.6,
}

# The authors' own table, trained anew, prints others.
SHUFFLE_V1_AUTHORS_ERRORS = {
    "shufflenet_v1_0.5x_g3": 42.7,
    "shufflenet_v1_0.5x_g8": 41.2,
    "shufflenet_v1_1.0x_g3": 32.2,
    "shufflenet_v1_1.0x_g8": 32.0,
    "shufflenet_v1_1.5x_g3": 28.4,
    "shufflenet_v1_1.5x_g8": 29.0,
    "shufflenet_v1_2.0x_g3": 25.9,
    "shufflenet_v1_2.0x_g8": 27.1,
}

FILES = {
    "mobilenet_v1_1.0": "mobilenet/mobilenet_1_0_224_tf.h5",
    "mobilenet_v1_0.75@160": "mobilenet/mobilenet_7_5_160_tf.h5",
    "mobilenet_v1_0.5@192": "mobilenet/mobilenet_5_0_192_tf.h5",
    "mobilenet_v1_0.25@128": "mobilenet/mobilenet_2_5_128_tf.h5",
    "mobilenet_v2_1.0": "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
    "mobilenet_v2_0.35@96": "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5",
    "shufflenet_v2_0.5x": "models/shufflenetv2_x0.5-f707e7126e.pth",
    "shufflenet_v2_1.0x": "models/shufflenetv2_x1-5666bf0f80.pth",
    "shufflenet_v2_1.5x": "models/shufflenetv2_x1_5-3c479a10.pth",
    "shufflenet_v2_2.0x": "models/shufflenetv2_x2_0-8be3c8ee.pth",
    "squeezenet_1.0": "models/squeezenet1_0-b66bff10.pth",
    "squeezenet_1.1": "models/squeezenet1_1-b8a52dc0.pth",
}


@pytest.mark.parametrize(("name", "top1"), SLIM.items())
def test_mobilenets_have_the_accuracy_of_their_resolution(name, top1):
    value, source = published_top1(parse(name, ()))
    assert value == top1
    assert source.startswith("https://github.com/tensorflow/models/")


@pytest.mark.parametrize(("name", "error"), SHUFFLE_V1_ERRORS.items())
def test_shufflenet_v1_has_the_papers_accuracy(name, error):
    value, source = published_top1(parse(name, ()))
    assert value == pytest.approx(100 - error)
    assert source == "https://arxiv.org/abs/1707.01083"


@pytest.mark.parametrize(("name", "error"), SHUFFLE_V1_AUTHORS_ERRORS.items())
def test_shufflenet_v1_has_its_authors_accuracy(name, error):
    value, source = published_top1(parse(name, ()))
    assert value == pytest.approx(100 - error)
    assert "megvii-model" in source


@pytest.mark.parametrize(("name", "ending"), FILES.items())
def test_the_weights_file_is_that_of_the_resolution(name, ending):
    file = published_weights(parse(name, ()))
    assert file.url.startswith("https://")
    assert file.url.endswith(f"/{ending}")
    assert file.file_name == ending.rpartition("/")[2]


@pytest.mark.parametrize("name", FILES)
def test_torchvisions_hashes_are_known_and_keras_gives_none(name):
    file = published_weights(parse(name, ()))
    if name.startswith("mobilenet"):
        assert file.sha256 == ""
    else:
        assert len(file.sha256) in {8, 10}
        assert int(file.sha256, 16) > 0
        assert f"-{file.sha256}.pth" in file.url


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1_1.0@96",
        "mobilenet_v1_1.0@223",
        "mobilenet_v1_0.35",
        "mobilenet_v2_1.3@192",
        "mobilenet_v2_0.25",
        "shufflenet_v1_1.5x_g2",
        "shufflenet_v2_1.0x@192",
        "squeezenet_1.1@227",
    ],
)
def test_what_nobody_published_is_not_guessed(name):
    assert published_top1(parse(name, ())) == (None, "")
    assert published_weights(parse(name, ())) is None


def test_names_with_weights_include_resolutions():
    names = with_weights("mobilenet_v2")
    assert names == tuple(sorted(names))
    assert {"mobilenet_v2_1.0", "mobilenet_v2_1.0@96", "mobilenet_v2_1.4"} <= set(names)
    assert with_weights("shufflenet_v1") == ()


@pytest.mark.parametrize("name", zoo.zoo_names())
def test_an_entry_quotes_what_is_published(name):
    entry, spec = zoo.describe(name), parse(name, ())
    assert (entry.top1, entry.top1_source) == published_top1(spec)
    file = published_weights(spec)
    assert entry.pretrained == (file.url if file else "")


def test_a_file_is_named_by_the_last_part_of_its_url():
    assert WeightsFile(url="https://host/a/b/net-0a1b.pth").file_name == "net-0a1b.pth"
