"""The curated list: data, held to the networks and to what others published."""

import dataclasses
import math

import pytest

from edgekit import zoo
from edgekit.bundle import Preprocessing
from edgekit.errors import UnknownNameError
from edgekit.zoo.builder import _fresh
from edgekit.zoo.names import parse
from edgekit.zoo.published import published_weights, with_weights

# Million multiply-accumulates as the papers and their authors' repositories print them.
_PUBLISHED_MACS = {
    "mobilenet_v1_1.0": 569,
    "mobilenet_v1_0.75": 325,
    "mobilenet_v1_0.5": 149,
    "mobilenet_v1_0.25": 41,
    "mobilenet_v2_0.35": 59,
    "mobilenet_v2_0.5": 97,
    "mobilenet_v2_0.75": 209,
    "mobilenet_v2_1.0": 300,
    "mobilenet_v2_1.3": 509,
    "mobilenet_v2_1.4": 582,
    "shufflenet_v1_0.5x_g3": 38,
    "shufflenet_v1_0.5x_g8": 40,
    "shufflenet_v1_1.0x_g1": 143,
    "shufflenet_v1_1.0x_g2": 140,
    "shufflenet_v1_1.0x_g3": 137,
    "shufflenet_v1_1.0x_g4": 133,
    "shufflenet_v1_1.0x_g8": 138,
    "shufflenet_v1_1.5x_g3": 292,
    "shufflenet_v1_1.5x_g8": 290,
    "shufflenet_v1_2.0x_g3": 524,
    "shufflenet_v1_2.0x_g8": 522,
    "shufflenet_v2_0.5x": 40,
    "shufflenet_v2_1.0x": 145,
    "shufflenet_v2_1.5x": 296,
    "shufflenet_v2_2.0x": 583,
    "squeezenet_1.0": 819,
    "squeezenet_1.1": 349,
}

# Trainable parameters that torchvision and Keras print exactly.
_PUBLISHED_PARAMETERS = {
    "mobilenet_v1_1.0": 4_231_976,
    "mobilenet_v2_1.0": 3_504_872,
    "shufflenet_v2_0.5x": 1_366_792,
    "shufflenet_v2_1.0x": 2_278_604,
    "shufflenet_v2_1.5x": 3_503_624,
    "shufflenet_v2_2.0x": 7_393_996,
    "squeezenet_1.0": 1_248_424,
    "squeezenet_1.1": 1_235_496,
}

# Millions of parameters that the authors of ShuffleNet v1 print.
_SHUFFLE_V1_MILLIONS = {
    "shufflenet_v1_0.5x_g3": 0.7,
    "shufflenet_v1_0.5x_g8": 1.0,
    "shufflenet_v1_1.0x_g3": 1.9,
    "shufflenet_v1_1.0x_g8": 2.4,
    "shufflenet_v1_1.5x_g3": 3.4,
    "shufflenet_v1_1.5x_g8": 4.3,
    "shufflenet_v1_2.0x_g3": 5.4,
    "shufflenet_v1_2.0x_g8": 6.5,
}

every_entry = pytest.mark.parametrize("entry", zoo.ENTRIES.values(), ids=zoo.zoo_names())


@every_entry
def test_the_counts_are_those_of_the_network(entry):
    network = _fresh(parse(entry.name, ()), classes=1000, channels=3)
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == entry.parameters
    assert zoo.count_macs(network) == entry.macs
    assert [tensor.name for tensor in network.inputs] == ["input"]
    assert network.input_shape == (None, entry.resolution, entry.resolution, 3)
    assert network.output_shape == (None, 1000)


@every_entry
def test_the_macs_are_those_that_were_published(entry):
    assert entry.macs / 1e6 == pytest.approx(_PUBLISHED_MACS[entry.name], rel=0.013)


@pytest.mark.parametrize(("name", "count"), _PUBLISHED_PARAMETERS.items())
def test_the_parameters_are_those_that_were_published(name, count):
    assert zoo.describe(name).parameters == count


@pytest.mark.parametrize(("name", "millions"), _SHUFFLE_V1_MILLIONS.items())
def test_shufflenet_v1_is_as_large_as_its_authors_say(name, millions):
    assert round(zoo.describe(name).parameters / 1e6, 1) == millions


@every_entry
def test_an_entry_is_whole(entry):
    assert zoo.ENTRIES[entry.name] is entry
    assert zoo.describe(entry.name) is entry
    assert entry.name.startswith(entry.family)
    assert entry.paper.startswith("https://arxiv.org/abs/")
    assert entry.top1 is not None
    assert 40 < entry.top1 < 80
    assert entry.top1_source.startswith("https://")
    assert entry.output == ("softmax" if entry.family.startswith("mobilenet") else "logits")
    assert entry.resolution == 224
    assert entry.preprocessing.resize in {232, 256}


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        zoo.describe("squeezenet_1.1").macs = 1
    with pytest.raises(TypeError):
        zoo.ENTRIES["other"] = zoo.describe("squeezenet_1.1")


def test_a_name_outside_the_list_is_counted():
    entry = zoo.describe("mobilenet_v1_1.0@128")
    assert (entry.name, entry.resolution) == ("mobilenet_v1_1.0@128", 128)
    assert entry.parameters == zoo.describe("mobilenet_v1_1.0").parameters
    assert round(entry.macs / 1e6) == 186
    assert entry.top1 == 65.2
    assert entry.preprocessing.resize == 146


def test_a_network_that_nobody_trained_has_no_accuracy():
    entry = zoo.describe("mobilenet_v2_0.6@40")
    assert (entry.top1, entry.top1_source, entry.pretrained) == (None, "", "")


def test_preprocessing_is_that_of_the_published_weights():
    assert zoo.describe("mobilenet_v2_1.0").preprocessing == Preprocessing(
        resize=256, scale=1 / 127.5, mean=(1.0,)
    )
    assert zoo.describe("shufflenet_v1_1.0x_g3").preprocessing == Preprocessing(resize=256, order="BGR")
    shuffle = zoo.describe("shufflenet_v2_1.5x").preprocessing
    assert (shuffle.resize, shuffle.order, shuffle.std) == (232, "RGB", (0.229, 0.224, 0.225))


def test_published_files_are_named_as_their_publishers_name_them():
    urls = {name: zoo.describe(name).pretrained for name in zoo.zoo_names()}
    assert urls["mobilenet_v1_0.25"].endswith("/mobilenet/mobilenet_2_5_224_tf.h5")
    assert urls["mobilenet_v2_1.4"].endswith("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5")
    assert urls["squeezenet_1.1"].endswith("/models/squeezenet1_1-b8a52dc0.pth")
    assert {name for name, url in urls.items() if not url} == {
        name for name in zoo.zoo_names() if name.startswith("shufflenet_v1")
    }


def test_torchvision_names_the_same_files_and_accuracies(torchvision_models):
    for name in (
        "squeezenet1_0",
        "squeezenet1_1",
        *(f"shufflenet_v2_x{w}" for w in ("0_5", "1_0", "1_5", "2_0")),
    ):
        family, _, size = name.replace("squeezenet", "squeezenet_").rpartition("_x")
        ours = (
            f"{family}_{size.replace('_', '.')}x" if family else f"squeezenet_{name[10:].replace('_', '.')}"
        )
        theirs = torchvision_models.get_model_weights(name).IMAGENET1K_V1
        entry, file = zoo.describe(ours), published_weights(parse(ours, ()))
        assert entry.pretrained == theirs.url
        assert entry.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert entry.parameters == theirs.meta["num_params"]
        assert file.sha256 == theirs.url[-12:-4] or file.sha256 == theirs.url[-14:-4]


def test_every_name_offered_for_imagenet_has_a_file():
    families = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "shufflenet_v2", "squeezenet")
    names = {family: with_weights(family) for family in families}
    assert {family: len(found) for family, found in names.items()} == {
        "mobilenet_v1": 16,
        "mobilenet_v2": 22,
        "shufflenet_v1": 0,
        "shufflenet_v2": 4,
        "squeezenet": 2,
    }
    for found in names.values():
        assert all(published_weights(parse(name, ())) for name in found)


def test_listing_loads_no_framework(fresh_python):
    script = (
        "import sys; from edgekit import zoo; zoo.zoo_names(); zoo.describe('mobilenet_v1_1.0');"
        "zoo.is_zoo_name('x'); list(zoo.ENTRIES.values());"
        "print(sorted({'keras', 'tensorflow', 'torch', 'h5py'} & set(sys.modules)))"
    )
    assert fresh_python(script) == "[]"


def test_an_unknown_name_is_refused_before_a_framework_is_loaded(fresh_python):
    script = (
        "import sys; from edgekit import zoo\n"
        "try: zoo.build('mobilenet_v3_1.0')\n"
        "except zoo.builder.UsageError as error: print(error, 'keras' in sys.modules)"
    )
    assert "did you mean 'mobilenet_v" in fresh_python(script)
    assert fresh_python(script).endswith("False")
    with pytest.raises(UnknownNameError):
        zoo.build("mobilenet_v3_1.0")
