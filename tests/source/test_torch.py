"""PyTorch modules: torchvision's networks, exported by torch, in every format."""

import numpy as np
import pytest

from edgekit.convert import convert
from edgekit.errors import ConversionError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.source import load_source, source_from_torch

pytestmark = pytest.mark.convert
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript, which torch's exporter needs, is not installed")
NETWORKS = ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v2")
PIXELS = 64


def shaken(module):
    """Give a network random weights and batch norms that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.normal_(0, 0.3, generator=generator)
                part.momentum = 1.0
            elif isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(part.weight, generator=generator)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1, generator=generator)
        module.train()(torch.randn(4, 3, PIXELS, PIXELS, generator=generator))
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_torchvision_becomes_every_format(name, torchvision_models, tmp_path):
    module = shaken(getattr(torchvision_models, name)(num_classes=10))
    source = source_from_torch(module, torch.zeros(1, 3, PIXELS, PIXELS), name=name)
    assert module.training
    assert source.kind == "torch"
    assert source.input.layout == "NCHW"
    assert source.parameters == sum(p.numel() for p in module.parameters())
    recipes = ("tflite-fp32", "onnx-fp32", "coreml-fp16")
    result = convert(source, parse_recipes(recipes), tmp_path / "bundle")
    assert [str(f.error) for f in result.failed] == []
    parity = {a.recipe: a.parity for a in result.bundle.artifacts}
    assert min(parity["tflite-fp32"].snr_db, parity["onnx-fp32"].snr_db) >= 60.0
    assert "coreml-fp16" in parity
    inputs, outputs = result.bundle.golden_arrays()
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(np.array(inputs))).numpy()
    np.testing.assert_allclose(outputs, wanted, atol=1e-4 * np.abs(wanted).max())


class Small(torch.nn.Module):
    """A network of two layers, NCHW."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.top = torch.nn.Linear(4, 5)

    def forward(self, x):
        return self.top(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch warns of itself
def test_a_batch_that_torch_left_open_becomes_one(tmp_path):
    path = tmp_path / "small.onnx"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        Small().eval(), (torch.zeros(2, 3, 16, 16),), path, dynamic_shapes=shapes, verbose=False, dynamo=True
    )
    source = load_source(str(path))
    assert source.input.shape == (1, 3, 16, 16)
    recipes = ("tflite-fp32", "onnx-fp32")
    result = convert(source, parse_recipes(recipes), tmp_path / "bundle")
    assert [a.recipe for a in result.bundle.artifacts if a.parity.snr_db >= 60.0] == list(recipes)


def test_an_exported_program_is_a_source_too():
    module, example = Small().eval(), torch.randn(1, 3, 16, 16)
    program = torch.export.export(module, (example,))
    source = source_from_torch(program, example, name="small")
    assert source.parameters == 3 * 4 * 9 + 4 + 4 * 5 + 5
    with torch.no_grad():
        np.testing.assert_allclose(source.reference(example.numpy()), module(example).numpy(), atol=1e-5)


def test_the_artifact_tells_nothing_of_the_exporters_machine(tmp_path):
    source = source_from_torch(Small(), torch.randn(1, 3, 16, 16))
    assert source.name == "Small"
    result = convert(source, parse_recipes(["onnx-fp32"]), tmp_path / "bundle")
    content = result.bundle.path_of(result.bundle.artifacts[0]).read_bytes()
    assert b".py" not in content
    assert b"/" + __file__.split("/")[1].encode() + b"/" not in content


@pytest.mark.parametrize(
    "example", [np.zeros((1, 3, 16, 16)), torch.zeros(2, 3, 16, 16), torch.zeros(1, 3).long()]
)
def test_an_example_that_does_not_fit_is_refused(example):
    with pytest.raises(UsageError, match="no float32 tensor with a batch of 1"):
        source_from_torch(Small(), example)


def test_what_torch_cannot_run_or_export_is_said():
    with pytest.raises(ConversionError, match="PyTorch can't export Small to ONNX"):
        source_from_torch(Small(), torch.zeros(1, 4, 16, 16))


def test_weights_that_are_not_finite_are_refused():
    module = Small()
    with torch.no_grad():
        module.conv.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(UsageError, match=r"Small has weights that are not finite: 1 of 108 in conv\.weight"):
        source_from_torch(module, torch.zeros(1, 3, 16, 16))


def test_several_outputs_are_refused():
    class Two(Small):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(UsageError, match="Two gives tuple, not one tensor"):
        source_from_torch(Two(), torch.zeros(1, 3, 16, 16))


def test_a_pickled_program_is_not_opened(tmp_path):
    torch.export.save(torch.export.export(Small(), (torch.zeros(1, 3, 16, 16),)), tmp_path / "small.pt2")
    with pytest.raises(UsageError, match="may run code that it carries") as caught:
        load_source(str(tmp_path / "small.pt2"))
    assert "source_from_torch" in caught.value.hint


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns of its own older exporter
@pytest.mark.parametrize("opset", [13, 17])
def test_what_the_older_exporter_writes_is_a_source(opset, tmp_path):
    path, module = tmp_path / "small.onnx", Small().eval()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    torch.onnx.export(module, (torch.zeros(1, 3, 16, 16),), path, dynamo=False, opset_version=opset, **names)
    source = load_source(str(path))
    assert source.input.shape == (1, 3, 16, 16)
    example = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        np.testing.assert_allclose(source.reference(example.numpy()), module(example).numpy(), atol=1e-5)
