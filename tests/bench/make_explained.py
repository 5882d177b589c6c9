"""Make small .tflite files, each with one thing that keeps int8 back: python make_explained.py FOLDER."""

import sys
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

folder = Path(sys.argv[1])
layers = tf.keras.layers
tf.keras.utils.set_random_seed(3)


def samples(shape):
    return lambda: ([np.random.default_rng(i).normal(size=(1, *shape)).astype("float32")] for i in range(4))


def convert(network, name, shape, *, int8=False, ranges=True, per_tensor=False):
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel = per_tensor
        if ranges:
            converter.representative_dataset = samples(shape)
    (folder / f"{name}.tflite").write_bytes(converter.convert())


def as_uint8(name, made):
    """Write the same network with all that is int8 as uint8, as LiteRT's first quantized networks were."""
    content = bytearray((folder / f"{name}.tflite").read_bytes())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8:
            tensor.type = schema.TensorType.UINT8
            tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint) + 128
            data = model.buffers[tensor.buffer].data
            if data is not None:
                model.buffers[tensor.buffer].data = np.asarray(data, dtype=np.uint8) ^ 0x80
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / f"{made}.tflite").write_bytes(bytes(builder.Output()))


def plain():
    given = tf.keras.Input((28, 28, 16), batch_size=1)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="first")(given)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="second")(x)
    return tf.keras.Model(given, layers.Dense(5, name="last")(layers.GlobalAveragePooling2D()(x)))


def normalized():
    given = tf.keras.Input((28, 28, 16), batch_size=1)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="first")(given)
    x = layers.Lambda(tf.nn.local_response_normalization, name="normalize")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="second")(x)
    return tf.keras.Model(given, layers.Dense(5, name="last")(layers.GlobalAveragePooling2D()(x)))


def moving():
    given = tf.keras.Input((56, 56, 32), batch_size=1)
    x = given
    for number in range(4):
        y = layers.DepthwiseConv2D(3, padding="same", activation="relu", name=f"deep{number}")(x)
        x = layers.Add(name=f"add{number}")([x, y])
    return tf.keras.Model(given, layers.Dense(5, name="last")(layers.GlobalAveragePooling2D()(x)))


shape = (28, 28, 16)
network = plain()
convert(network, "plain-float", shape)
convert(network, "plain-int8", shape, int8=True)
convert(network, "plain-dynamic", shape, int8=True, ranges=False)
convert(network, "plain-per-tensor", shape, int8=True, per_tensor=True)
as_uint8("plain-per-tensor", "plain-uint8")
network = normalized()
convert(network, "lrn-float", shape)
convert(network, "lrn-int8", shape, int8=True)
network = moving()
convert(network, "moving-float", (56, 56, 32))
convert(network, "moving-int8", (56, 56, 32), int8=True)
