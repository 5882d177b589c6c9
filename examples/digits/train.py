"""Trains the checkpoint that lies beside this file: MobileNet v1 0.25 on scanned digits, minutes on 2 cores.

python examples/digits/train.py [--epochs N] [-o FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import data
import keras
import numpy as np

from edgekit.zoo import build

NETWORK = f"mobilenet_v1_0.25@{data.SIDE}"
CHECKPOINT = Path(__file__).with_name("digits_mobilenet_v1_0.25.keras")


def train(epochs: int, out: Path) -> float:
    """Train from nothing, write the checkpoint, return its accuracy on the held-back images, 0 to 1."""
    keras.utils.set_random_seed(1)
    splits = data.load()
    x, y = (splits["train"][0][..., None].astype("float32") / 127.5 - 1), splits["train"][1]
    # The zoo's seeded weights are made to be converted, not trained: the layers' own initializers are.
    fresh = build(NETWORK, weights="none", classes=10, channels=1, seed=1)
    network = keras.models.clone_model(fresh)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # the papers' own moves too slowly to settle in a few hundred steps
    batch, rng = 64, np.random.default_rng(1)
    steps = epochs * (len(x) // batch)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
    augment = keras.Sequential(
        [
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant", fill_value=-1.0, seed=1),
            keras.layers.RandomRotation(0.04, fill_mode="constant", fill_value=-1.0, seed=2),
            keras.layers.RandomZoom(0.1, fill_mode="constant", fill_value=-1.0, seed=3),
        ]
    )
    for epoch in range(epochs):
        start, losses, order = time.monotonic(), [], rng.permutation(len(x))
        for first in range(0, len(x) - batch + 1, batch):
            chosen = order[first : first + batch]
            losses.append(float(network.train_on_batch(augment(x[chosen], training=True), y[chosen])))
        print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {time.monotonic() - start:.1f} s")
    held_x, held_y = (splits["held-back"][0][..., None].astype("float32") / 127.5 - 1), splits["held-back"][1]
    accuracy = float((network.predict(held_x, verbose=0).argmax(1) == held_y).mean())
    # The untouched network takes the weights: no training state goes into the file.
    fresh.set_weights(network.get_weights())
    fresh.save(out)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("-o", "--out", type=Path, default=CHECKPOINT)
    args = parser.parse_args()
    print(f"{train(args.epochs, args.out):.1%} of the held-back images are right; written to {args.out}")
