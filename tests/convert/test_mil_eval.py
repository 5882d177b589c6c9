"""Whole Core ML packages evaluated op by op, against the networks that they were made from."""

from __future__ import annotations

import gc
import shutil

import numpy as np
import pytest

from edgekit.convert import CONVERTERS
from edgekit.convert.base import Work
from edgekit.convert.mil.evaluate import evaluate, load, op_kinds, read_spec
from edgekit.convert.parity import check, measure
from edgekit.errors import ConversionError, ParityError
from edgekit.source import freeze, load_source
from edgekit.source.quiet import quiet

pytestmark = pytest.mark.convert


def package_of(frozen, precision, path):
    with quiet():
        CONVERTERS.get("coreml").convert(Work(frozen=frozen), precision, path)
    return path


@pytest.fixture(scope="module")
def typical(keras):
    """Layers that the zoo lacks: transposed convolutions, resizing, norms, gates, odd paddings."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    inputs = layers.Input((20, 24, 3))
    x = layers.Conv2D(8, 5, strides=2, padding="same", activation="silu")(inputs)
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", groups=4)(x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(x)
    x = layers.ZeroPadding2D(((1, 0), (0, 2)))(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.LeakyReLU(0.2)(layers.LayerNormalization()(x))
    gate = layers.Dense(16, activation="hard_sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, gate])
    up = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="mish")(x)
    x = layers.Add()([x, up])
    x = layers.AveragePooling2D(3, strides=2, padding="same")(layers.UpSampling2D(2)(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.Cropping2D(((1, 2), (0, 1)))(x))
    x = layers.Activation("hard_swish")(layers.Conv2D(8, 1, activation="elu")(x))
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(x), layers.Flatten()(x)])
    x = layers.Dense(12, activation="softplus")(layers.Dense(12, activation="tanh")(x))
    return keras.Model(inputs, layers.Dense(5, activation="sigmoid")(x), name="typical")


@pytest.fixture(scope="module")
def typical_frozen(typical, tmp_path_factory):
    path = tmp_path_factory.mktemp("typical") / "typical.keras"
    typical.save(path)
    return freeze(load_source(str(path)))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_typical_layers(typical_frozen, precision, tmp_path, rng):
    path = package_of(typical_frozen, precision, tmp_path / "typical.mlpackage")
    inputs = rng.uniform(-1, 1, (3, 20, 24, 3)).astype(np.float32)
    parity = check(
        typical_frozen.outputs(inputs), evaluate(path, inputs), recipe=f"coreml-{precision}", grid=None
    )
    assert parity.snr_db > (80 if precision == "fp32" else 40)
    assert {"conv", "conv_transpose", "max_pool", "avg_pool", "upsample_bilinear"} <= set(op_kinds(path))


def torch_network(torch):
    """Layers as torch writes them: batch and instance norm, pixel shuffle, output padding, ceil mode."""
    nn, functional = torch.nn, torch.nn.functional

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = (
                nn.Conv2d(3, 12, 3, stride=2, padding=1),
                nn.InstanceNorm2d(12, affine=True),
            )
            self.grouped, self.batch = (
                nn.Conv2d(12, 16, 3, padding=(2, 1), dilation=(2, 1), groups=4),
                nn.BatchNorm2d(16),
            )
            self.up = nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1)
            self.prelu, self.layer, self.last = nn.PReLU(16), nn.LayerNorm(8), nn.Linear(8, 10)
            self.batch.running_mean.uniform_(-1, 1)
            self.batch.running_var.uniform_(0.5, 2)

        def forward(self, x):
            x = self.norm(functional.hardswish(self.first(x)))
            x = self.prelu(self.batch(functional.gelu(self.grouped(functional.elu(x)))))
            x = functional.interpolate(functional.pixel_shuffle(x, 2), scale_factor=2, mode="bilinear")
            x = functional.max_pool2d(self.up(x), 3, 2, 1, ceil_mode=True)
            x = functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
            x = functional.pad(x, (1, 2, 0, 1), mode="reflect")
            return torch.softmax(self.last(functional.leaky_relu(self.layer(x.mean((2, 3))), 0.1)), 1)

    torch.manual_seed(0)
    return Network().eval()


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
@pytest.mark.filterwarnings("ignore")  # of torch and of coremltools, about each other
def test_a_package_that_edgekit_did_not_make(precision, tmp_path):
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    coremltools = pytest.importorskip("coremltools", reason="the convert extra is not installed")
    network, x = torch_network(torch), torch.randn(2, 3, 17, 19, generator=torch.Generator().manual_seed(1))
    with quiet(), torch.no_grad():
        coremltools.convert(
            torch.jit.trace(network, x[:1]),
            inputs=[coremltools.TensorType(name="x", shape=(1, 3, 17, 19))],
            minimum_deployment_target=coremltools.target.iOS17,
            compute_precision=coremltools.precision[precision],
            skip_model_load=True,
        ).save(str(tmp_path / "torch.mlpackage"))
        gc.collect()
        wanted = network(x).numpy()
    found = measure(wanted, evaluate(tmp_path / "torch.mlpackage", x.numpy()), 0.0).snr_db
    assert found > (90 if precision == "FLOAT32" else 45)
    assert {"instance_norm", "pixel_shuffle", "pad", "layer_norm", "gelu"} <= set(
        op_kinds(tmp_path / "torch.mlpackage")
    )


@pytest.fixture(scope="module")
def fp32(source, tmp_path_factory):
    """The tiny network's float package, its inputs and the outputs that it should give."""
    frozen = freeze(source)
    path = package_of(frozen, "fp32", tmp_path_factory.mktemp("fp32") / "tiny.mlpackage")
    inputs = np.random.default_rng(8).uniform(-1, 1, (6, 32, 32, 3)).astype(np.float32)
    return path, inputs, frozen.outputs(inputs)


@pytest.fixture
def copy(fp32, tmp_path):
    shutil.copytree(fp32[0], tmp_path / "copy.mlpackage")
    return tmp_path / "copy.mlpackage"


def main_of(spec):
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def rewrite(path, change):
    spec = read_spec(path)
    change(spec)
    next(path.rglob("*.mlmodel")).write_bytes(spec.SerializeToString())


def compressed(path, out, function, **options):
    """Compress a package's weights with coremltools; also write what it makes of them uncompressed."""
    import coremltools
    import coremltools.optimize.coreml as optimize

    with quiet():
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
        kind = getattr(optimize, f"Op{options['kind']}Config")
        settings = {key: value for key, value in options.items() if key != "kind"}
        config = optimize.OptimizationConfig(global_config=kind(**settings))
        packed = getattr(optimize, function)(model, config)
        packed.save(str(out / "packed.mlpackage"))
        optimize.decompress_weights(packed).save(str(out / "dense.mlpackage"))
        del model, packed
        gc.collect()  # coremltools leaves its temporary folders to the collector, which warns
    return out / "packed.mlpackage", out / "dense.mlpackage"


LINEAR = {"kind": "LinearQuantizer", "weight_threshold": 1}
TABLE = {"kind": "Palettizer", "mode": "uniform", "weight_threshold": 1}
SCHEMES = {
    "linear 8 bits": ("linear_quantize_weights", "constexpr_affine_dequantize", 25,
                      {**LINEAR, "mode": "linear_symmetric", "dtype": "int8"}),
    "linear 8 bits, with zero points": ("linear_quantize_weights", "constexpr_affine_dequantize", 25,
                                        {**LINEAR, "mode": "linear", "dtype": "uint8"}),
    "6 bits of a table": ("palettize_weights", "constexpr_lut_to_dense", 15, {**TABLE, "nbits": 6}),
    "4 bits of a table": ("palettize_weights", "constexpr_lut_to_dense", 5, {**TABLE, "nbits": 4}),
    "pruned": ("prune_weights", "constexpr_sparse_to_dense", 3,
               {"kind": "MagnitudePruner", "target_sparsity": 0.2, "weight_threshold": 1}),
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compressed_weights(fp32, tmp_path, scheme):
    path, inputs, wanted = fp32
    function, operation, bar, options = SCHEMES[scheme]
    packed, dense = compressed(path, tmp_path, function, **options)
    assert op_kinds(packed)[operation] >= 4
    assert operation not in op_kinds(dense)
    got = evaluate(packed, inputs)
    np.testing.assert_allclose(got, evaluate(dense, inputs), rtol=1e-5, atol=1e-6)
    assert bar < measure(wanted, got, 0.0).snr_db < 70, "near the float network, and not it"


def built(function, path, *, target="iOS18", shape=(1, 4, 6, 6)):
    """Save a program written op by op in coremltools' builder, as it stands."""
    import coremltools
    from coremltools.converters.mil.mil import Builder

    with quiet():
        spec = [Builder.TensorSpec(shape=shape)]
        program = Builder.program(input_specs=spec, opset_version=coremltools.target[target])(function)
        coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target[target],
            compute_precision=coremltools.precision.FLOAT32,
            pass_pipeline=coremltools.PassPipeline.EMPTY,
            skip_model_load=True,
        ).save(str(path))
        gc.collect()
    return path


@pytest.fixture(scope="module")
def mb():
    pytest.importorskip("coremltools", reason="the convert extra is not installed")
    from coremltools.converters.mil.mil import Builder

    return Builder


def test_quantized_activations(mb, tmp_path, rng):
    """Eight bits of weights and of activations: quantize and dequantize around a convolution."""
    weight = rng.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)
    scale = rng.uniform(0.001, 0.01, (5, 1, 1, 1)).astype(np.float32)

    def program(x):
        x = mb.quantize(input=x, scale=np.float32(0.02), zero_point=np.int8(3), output_dtype="int8")
        x = mb.dequantize(input=x, scale=np.float32(0.02), zero_point=np.int8(3))
        kernel = mb.constexpr_blockwise_shift_scale(data=weight, scale=scale)
        x = mb.relu(x=mb.conv(x=x, weight=kernel, pad_type="same"))
        x = mb.quantize(input=x, scale=np.float32(0.05), zero_point=np.uint8(0), output_dtype="uint8")
        return mb.dequantize(input=x, scale=np.float32(0.05), zero_point=np.uint8(0), name="y")

    path = built(program, tmp_path / "w8a8.mlpackage")
    x = rng.normal(size=(3, 4, 6, 6)).astype(np.float32)
    held = (np.clip(np.round(x / 0.02) + 3, -128, 127) - 3) * 0.02
    whole = np.pad(held, [(0, 0), (0, 0), (1, 1), (1, 1)])
    kernel = weight * scale
    wanted = np.zeros((3, 5, 6, 6))
    for row in range(3):
        for column in range(3):
            wanted += np.einsum(
                "nchw,oc->nohw", whole[:, :, row : row + 6, column : column + 6], kernel[:, :, row, column]
            )
    wanted = np.clip(np.round(np.maximum(wanted, 0) / 0.05), 0, 255) * 0.05
    got = evaluate(path, x)
    assert np.mean(np.abs(got - wanted) > 1e-5) < 0.01, "a sum on the edge of a step may fall either way"
    assert np.abs(got - wanted).max() < 0.0501
    assert len(np.unique(got)) > 20


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_four_bits_in_blocks(mb, tmp_path, rng, dtype):
    from coremltools.converters.mil.mil import types

    low = -8 if dtype == "int4" else 0
    data = rng.integers(low, low + 16, (6, 8)).astype(types.string_to_nptype(dtype))
    scale = rng.uniform(0.1, 1, (6, 2)).astype(np.float32)
    path = built(
        lambda x: mb.linear(x=x, weight=mb.constexpr_blockwise_shift_scale(data=data, scale=scale), name="y"),
        tmp_path / "blocks.mlpackage",
        shape=(1, 8),
    )
    x = rng.normal(size=(2, 8)).astype(np.float32)
    dense = data.astype(np.float32) * np.repeat(scale, 4, axis=1)
    np.testing.assert_allclose(evaluate(path, x), x @ dense.T, rtol=1e-5, atol=1e-5)


def test_settings_of_all_kinds_are_read_from_a_program(mb, tmp_path, rng):
    """Numbers, vectors, truth values, words, several values and several outputs."""

    def program(x):
        first, second = mb.split(x=x, split_sizes=[1, 3], axis=1)
        x = mb.concat(values=[second, first, second], axis=1)
        x = mb.slice_by_index(x=x, begin=[0, 1, 0, 0], end=[0, 0, 0, 0], stride=[1, 1, 1, 1],
                              begin_mask=[True, False, True, True], end_mask=[True] * 4)  # fmt: skip
        x = mb.avg_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1],
                        exclude_padding_from_average=True, ceil_mode=True)  # fmt: skip
        x = mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=2, align_corners=False)
        shape = mb.shape(x=x)
        x = mb.reshape(x=mb.transpose(x=x, perm=[0, 2, 3, 1]), shape=mb.gather(x=shape, indices=[0, 2, 3, 1]))
        return mb.softmax(x=mb.reduce_mean(x=x, axes=[1, 2], keep_dims=False), axis=-1, name="y")

    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    path = built(program, tmp_path / "settings.mlpackage", target="iOS17")
    x = rng.normal(size=(2, 4, 6, 6)).astype(np.float32)
    y = torch.tensor(np.concatenate([x[:, 1:], x[:, :1], x[:, 1:]], 1)[:, 1:])
    y = torch.nn.functional.avg_pool2d(y, 3, 2, 1, ceil_mode=True, count_include_pad=False)
    y = torch.nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(evaluate(path, x), torch.softmax(y.mean((2, 3)), -1), rtol=1e-5)
    program = load(path)
    assert "shape" in program.kinds
    freed = [name for node in program.nodes for name in node.frees]
    made = {o.name for node in program.nodes for o in node.outputs} | {i.name for i in program.inputs}
    assert sorted(freed) == sorted(made - set(program.outputs)), "each value is let go once"


def test_half_floats_that_overflow_are_seen(mb, tmp_path):
    def program(x):
        x = mb.cast(x=x, dtype="fp16")
        x = mb.mul(x=x, y=np.float16(300))
        return mb.cast(x=mb.mul(x=x, y=np.float16(1 / 512)), dtype="fp32", name="y")

    path = built(program, tmp_path / "half.mlpackage", shape=(1, 3))
    finite = evaluate(path, np.float32([[1, 200, 2]]))[0]
    np.testing.assert_array_equal(finite, np.float16([300 / 512, 117.1875, 600 / 512]))
    with pytest.raises(ParityError, match=r"op 'mul'.*its input reaches 300"):
        evaluate(path, np.float32([[1, 200, 300]]))


@pytest.mark.parametrize("layer", [0, 1, -1], ids=["first", "depthwise", "last"])
@pytest.mark.parametrize("change", ["swap two kernels", "turn around", "one sign", "one bit"])
def test_a_wrong_weight_fails_parity(fp32, copy, layer, change):
    """Spoil one weight in the blob file: what the structure's check would see, the outputs must show too."""
    _, inputs, wanted = fp32
    weights = next(copy.rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    operation = [o for o in main_of(read_spec(copy)).operations if o.type in {"conv", "matmul"}][layer]
    name = operation.inputs["weight" if operation.type == "conv" else "y"].arguments[0].name
    const = next(o for o in main_of(read_spec(copy)).operations if o.outputs[0].name == name)
    begin = int(np.frombuffer(content, np.uint64, 1, const.attributes["val"].blobFileValue.offset + 16)[0])
    shape = load(copy).constants[name].shape
    held = np.frombuffer(content, np.float32, int(np.prod(shape)), begin).reshape(shape)
    place = np.unravel_index(np.abs(held).argmax(), shape)
    if change == "swap two kernels":
        held[[0, 1]] = held[[1, 0]]
    elif change == "turn around":
        held[:] = held[::-1]
    elif change == "one sign":
        held[place] *= -1
    else:
        held.view(np.uint32)[place] ^= 1 << 26
    assert evaluate(copy, inputs).shape == wanted.shape
    weights.write_bytes(content)
    with pytest.raises(ParityError, match=r"differs from its source|not finite"):
        check(wanted, evaluate(copy, inputs), recipe="coreml-fp32", grid=None)


def test_a_wrong_permutation_and_a_wrong_pad_fail_parity(fp32, copy):
    _, inputs, wanted = fp32

    def turn(spec):
        moved = [o for o in main_of(spec).operations if o.type == "transpose"]
        names = {moved[0].inputs["perm"].arguments[0].name}
        perm = next(o for o in main_of(spec).operations if o.outputs[0].name in names)
        perm.attributes["val"].immediateValue.tensor.ints.values[:] = [0, 3, 2, 1]

    rewrite(copy, turn)
    with pytest.raises(ParityError, match="differs from its source"):
        check(wanted, evaluate(copy, inputs), recipe="coreml-fp32", grid=None)


def test_an_operation_that_is_not_evaluated_is_named(copy):
    def rename(spec):
        next(o for o in main_of(spec).operations if o.type == "softmax").type = "crop_resize"

    output = next(o for o in main_of(read_spec(copy)).operations if o.type == "softmax").outputs[0].name
    rewrite(copy, rename)
    with pytest.raises(ConversionError) as caught:
        evaluate(copy, np.zeros((1, 32, 32, 3), np.float32))
    assert f"can't be evaluated here: op 'crop_resize' (output '{output}')" in str(caught.value)
    assert caught.value.hint
    assert op_kinds(copy)["crop_resize"] == 1


def test_operations_that_do_not_fit_are_named(copy):
    def spoil(spec):
        conv = next(o for o in main_of(spec).operations if o.type == "conv")
        conv.inputs["weight"].arguments[0].name = conv.inputs["pad_type"].arguments[0].name

    rewrite(copy, spoil)
    with pytest.raises(ConversionError, match=r"op 'conv' \(output '.*'\) fails: .*: the package is damaged"):
        evaluate(copy, np.zeros((1, 32, 32, 3), np.float32))


def test_a_shape_that_the_program_does_not_declare_is_named(copy):
    def spoil(spec):
        conv = next(o for o in main_of(spec).operations if o.type == "conv")
        conv.outputs[0].type.tensorType.dimensions[1].constant.size += 1

    rewrite(copy, spoil)
    with pytest.raises(
        ConversionError, match=r"gives the shape \(1, 8, 16, 16\), the program says \(1, 9, 16, 16\)"
    ):
        evaluate(copy, np.zeros((1, 32, 32, 3), np.float32))


def spoil_model(path):
    next(path.rglob("*.mlmodel")).write_bytes(b"\xff\xff\xff\xff")


def cut_model(path):
    model = next(path.rglob("*.mlmodel"))
    model.write_bytes(model.read_bytes()[:-100])


DAMAGE = {
    "no Core ML model": lambda path: next(path.rglob("*.mlmodel")).unlink(),
    "can't be read as a Core ML model": spoil_model,
    "can't be read as a Core ML": cut_model,
    "lacks its weight file 'weight.bin'": lambda path: next(path.rglob("weight.bin")).unlink(),
    "weight file weight.bin is shorter": lambda path: next(path.rglob("weight.bin")).write_bytes(b"\1" * 64),
    "weight.bin does not hold": lambda path: next(path.rglob("weight.bin")).write_bytes(b"\1" * 100_000),
    "holds None, no ML program": lambda path: next(path.rglob("*.mlmodel")).write_bytes(b""),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_package_is_one_line(copy, message):
    DAMAGE[message](copy)
    with pytest.raises(ConversionError) as caught:
        evaluate(copy, np.zeros((1, 32, 32, 3), np.float32))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_inputs_of_another_shape_are_refused(fp32, mb, tmp_path):
    path = fp32[0]
    with pytest.raises(
        ConversionError, match=r"takes inputs of the shape \(1, 32, 32, 3\), not \(1, 16, 16, 3\)"
    ):
        evaluate(path, np.zeros((2, 16, 16, 3), np.float32))
    program = load(path)
    with pytest.raises(ConversionError, match="input 'input' is not given"):
        program.run({})
    with pytest.raises(ConversionError, match=r"has the shape \(1, 32, 32, 3\), not \(32, 32, 3\)"):
        program.run({"input": np.zeros((32, 32, 3), np.float32)})
    two = built(lambda x: (mb.relu(x=x), mb.abs(x=x)), tmp_path / "two.mlpackage")
    with pytest.raises(ConversionError, match="has 1 inputs and 2 outputs"):
        evaluate(two, np.zeros((1, 4, 6, 6), np.float32))
    x = np.linspace(-1, 1, 144, dtype=np.float32).reshape(1, 4, 6, 6)
    found = load(two).run({"x": x})
    np.testing.assert_array_equal(sorted(v.min() for v in found.values()), [0, np.abs(x).min()])


def test_our_own_process_reads_a_package_without_pytorch(made):
    import subprocess
    import sys

    package = made.bundle.path_of(made.bundle.artifact("coreml-fp16"))
    code = (
        "import sys; from pathlib import Path; from edgekit.source import lean; lean.own_process();"
        "from edgekit.convert.mil.evaluate import load; load(Path(sys.argv[1]));"
        "print(*[name for name in lean.NEEDLESS if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
