"""PyTorch state dicts: the same outputs, and no key too many or too few."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from edgekit import zoo
from edgekit.errors import MissingExtraError, UsageError
from edgekit.zoo.builder import _fresh
from edgekit.zoo.names import parse
from edgekit.zoo.torchvision import key_of, load_state_dict, read_pth
from edgekit.zoo.weights_file import load_file

keras = pytest.importorskip("keras", reason="Keras is not installed")

THEIRS = {
    "squeezenet_1.0": "squeezenet1_0",
    "squeezenet_1.1": "squeezenet1_1",
    "shufflenet_v2_0.5x": "shufflenet_v2_x0_5",
    "shufflenet_v2_1.0x": "shufflenet_v2_x1_0",
    "shufflenet_v2_1.5x": "shufflenet_v2_x1_5",
    "shufflenet_v2_2.0x": "shufflenet_v2_x2_0",
}


def fresh(name, classes=10):
    return _fresh(parse(name, ()), classes=classes, channels=3)


def shaken(torch, network):
    """Give a torch network random weights and random, settled batch norm statistics; return its state."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.momentum = 1.0
            elif hasattr(module, "weight"):
                torch.nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
        network.train()(torch.randn(4, 3, 64, 64, generator=generator))
    network.eval()
    return {key: value.numpy() for key, value in network.state_dict().items()}


def outputs_of(torch, network, images):
    with torch.no_grad():
        return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        *((name, 75) for name in THEIRS),
        ("squeezenet_1.0", 224),
        ("squeezenet_1.1", 64),
        ("shufflenet_v2_0.5x", 224),
    ],
)
def test_outputs_are_torchvisions(name, resolution, torch, torchvision_models, inputs_for):
    theirs = getattr(torchvision_models, THEIRS[name])(num_classes=10)
    ours = fresh(f"{name}@{resolution}")
    load_state_dict(ours, shaken(torch, theirs))
    images = inputs_for(name, resolution, count=2)
    expected = outputs_of(torch, theirs, images)
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(np.asarray(ours(images)) / scale, expected / scale, atol=1e-4)


def shufflenet_v1_unit(torch, inputs, filters, groups, *, first, down):
    """A unit of ShuffleNet v1 in PyTorch, with the authors' keys."""
    nn = torch.nn
    middle = filters // 4
    outputs = filters - inputs if down else filters

    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch_main_1 = nn.Sequential(
                nn.Conv2d(inputs, middle, 1, groups=1 if first else groups, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, middle, 3, 2 if down else 1, 1, groups=middle, bias=False),
                nn.BatchNorm2d(middle),
            )
            self.branch_main_2 = nn.Sequential(
                nn.Conv2d(middle, outputs, 1, groups=groups, bias=False), nn.BatchNorm2d(outputs)
            )

        def forward(self, x):
            main = self.branch_main_1(x)
            order = torch.arange(middle).reshape(middle // groups, groups).T.reshape(-1)
            main = self.branch_main_2(main[:, order])
            if not down:
                return torch.relu(x + main)
            return torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), torch.relu(main)], dim=1)

    return Unit()


def shufflenet_v1(torch, groups, stages, first):
    """The rest of ShuffleNet v1 in PyTorch, with the authors' keys."""
    nn = torch.nn
    units, inputs = [], first
    for filters, repeats in zip(stages, (4, 8, 4), strict=True):
        for repeat in range(repeats):
            units.append(
                shufflenet_v1_unit(torch, inputs, filters, groups, first=not units, down=repeat == 0)
            )
            inputs = filters

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first_conv = nn.Sequential(
                nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()
            )
            self.features = nn.Sequential(*units)
            self.classifier = nn.Sequential(nn.Linear(inputs, 10, bias=False))

        def forward(self, x):
            x = nn.functional.max_pool2d(self.first_conv(x), 3, 2, 1)
            return self.classifier(self.features(x).mean((2, 3)))

    return Network()


V1 = {
    "shufflenet_v1_0.5x_g3": (3, (120, 240, 480), 12),
    "shufflenet_v1_0.5x_g8": (8, (192, 384, 768), 16),
    "shufflenet_v1_1.0x_g4": (4, (272, 544, 1088), 24),
    "shufflenet_v1_1.0x_g1": (1, (144, 288, 576), 24),
}


@pytest.mark.parametrize(
    ("name", "resolution"), [*((name, 75) for name in V1), ("shufflenet_v1_0.5x_g3", 64)]
)
def test_outputs_are_those_of_shufflenet_v1_in_pytorch(name, resolution, torch):
    theirs = shufflenet_v1(torch, *V1[name])
    ours = fresh(f"{name}@{resolution}")
    load_state_dict(ours, shaken(torch, theirs))
    images = np.random.default_rng(2).normal(0, 1, (2, resolution, resolution, 3)).astype(np.float32)
    expected = outputs_of(torch, theirs, images)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(ours(images)) / scale, expected / scale, atol=1e-4)


def some_state(name, classes=10):
    """A state dict made without PyTorch, from our own layers turned back."""
    rng = np.random.default_rng(0)
    state = {}
    for layer in fresh(name, classes).layers:
        if layer.weights:
            shapes = [tuple(weight.shape) for weight in layer.weights]
            parts = ("weight", "bias", "running_mean", "running_var")
            for part, shape in zip(parts, shapes, strict=False):
                turned = shape
                if part == "weight" and len(shape) == 4:
                    turned = (shape[3], shape[2], *shape[:2])
                state[f"{key_of(layer.name)}.{part}"] = rng.uniform(0.1, 1, turned).astype(np.float32)
    return state


@pytest.fixture
def squeezenet_state():
    return some_state("squeezenet_1.1")


def test_kernels_are_turned_and_biases_kept(squeezenet_state):
    network = fresh("squeezenet_1.1")
    load_state_dict(network, squeezenet_state)
    kernel, bias = network.get_layer("features_3_expand3x3").get_weights()
    theirs = squeezenet_state["features.3.expand3x3.weight"]
    assert kernel[0, 2, 5, 7] == theirs[7, 5, 0, 2]
    np.testing.assert_array_equal(bias, squeezenet_state["features.3.expand3x3.bias"])


def test_a_missing_key_is_named(squeezenet_state):
    del squeezenet_state["features.4.squeeze.bias"]
    with pytest.raises(UsageError, match=r"no key 'features\.4\.squeeze\.bias'"):
        load_state_dict(fresh("squeezenet_1.1"), squeezenet_state)


def test_a_key_left_over_is_named(squeezenet_state):
    squeezenet_state["features.99.weight"] = np.zeros(3, np.float32)
    with pytest.raises(UsageError, match=r"1 keys that squeezenet has no layer for: features\.99\.weight"):
        load_state_dict(fresh("squeezenet_1.1"), squeezenet_state)


def test_batch_counters_are_left_aside(squeezenet_state):
    squeezenet_state["features.0.num_batches_tracked"] = np.zeros((), np.int64)
    load_state_dict(fresh("squeezenet_1.1"), squeezenet_state)


def test_another_number_of_classes_is_refused_and_nothing_is_set(squeezenet_state):
    network = fresh("squeezenet_1.1", classes=7)
    before = network.get_layer("features_0").get_weights()[0]
    with pytest.raises(UsageError, match="layer 'classifier_1'"):
        load_state_dict(network, squeezenet_state)
    np.testing.assert_array_equal(network.get_layer("features_0").get_weights()[0], before)


@pytest.mark.parametrize("name", ["squeezenet_1.0", "shufflenet_v2_0.5x"])
def test_another_network_is_refused(name, squeezenet_state):
    with pytest.raises(UsageError):
        load_state_dict(fresh(name), squeezenet_state)


def test_a_weight_of_another_rank_is_refused(squeezenet_state):
    squeezenet_state["features.0.weight"] = np.zeros((64, 27), np.float32)
    with pytest.raises(UsageError, match=r"shape \(64, 27\) for layer 'features_0'"):
        load_state_dict(fresh("squeezenet_1.1"), squeezenet_state)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25", "mobilenet_v2_0.35"])
def test_mobilenets_do_not_take_pytorch_weights(name):
    with pytest.raises(UsageError, match="doesn't take PyTorch weights"):
        load_state_dict(fresh(name), {})


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        ("stage2_0_branch1_0", "stage2.0.branch1.0"),
        ("features_12_expand1x1", "features.12.expand1x1"),
        ("classifier_1", "classifier.1"),
        ("first_conv_1", "first_conv.1"),
        ("features_15_branch_main_2_0", "features.15.branch_main_2.0"),
        ("classifier", "classifier.0"),
        ("fc", "fc"),
    ],
)
def test_a_layer_is_named_after_its_key(layer, key):
    assert key_of(layer) == key


def test_a_pth_file_is_read_as_pytorch_writes_it(torch, tmp_path, squeezenet_state):
    state = {key: torch.from_numpy(value) for key, value in squeezenet_state.items()}
    torch.save(state, tmp_path / "plain.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "checkpoint.pt")
    for name in ("plain.pth", "old.pth", "checkpoint.pt"):
        network = zoo.build("squeezenet_1.1", weights=tmp_path / name, classes=10, resolution=32)
        bias = network.get_layer("features_0").get_weights()[1]
        np.testing.assert_array_equal(bias, squeezenet_state["features.0.bias"])


class Trap:
    """Pickled, it would create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_pth_file_cannot_run_code(torch, tmp_path):
    sprung = tmp_path / "sprung"
    for number, write in enumerate((torch.save, lambda value, path: path.write_bytes(pickle.dumps(value)))):
        path = tmp_path / f"trap{number}.pth"
        write({"features.0.weight": Trap(str(sprung))}, path)
        with pytest.raises(UsageError, match="can't be read as PyTorch weights"):
            load_file(fresh("squeezenet_1.1"), path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_an_unreadable_pth_file_is_refused(torch, tmp_path, content):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(UsageError, match="can't be read as PyTorch weights"):
        read_pth(tmp_path / "broken.pth")


def test_a_pth_file_without_a_state_dict_is_refused(torch, tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds no state dict"):
        read_pth(tmp_path / "list.pth")


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "any.pth").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"edgekit-sdk\[torch\]"):
        load_file(fresh("squeezenet_1.1"), tmp_path / "any.pth")
