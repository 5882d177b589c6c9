"""Measure what int8 costs trained networks: top-1 on photos, and agreement with the float source.

    python tests/speed/accuracy.py DATA [--network NAME ...] [-r RECIPE ...] [--vendor]
                                        [--flowers] [--json FILE]

DATA holds `networks/*.keras` and `photos-imagenet-classes/` with its labels.csv. The first 100 photos of
labels.csv calibrate, the others are evaluated. The reference is the float network as Keras itself runs it,
not an artifact of it. Each artifact is made by `edgekit.convert.convert` with its own defaults and run on
this host; Core ML programs are evaluated op by op. `--vendor` adds TFLite's own post-training quantization
with default settings. `--flowers` puts a head on the two backbones (ridge regression on their features of
DATA/flower_photos-128/train; 100 of these photos calibrate, evenly spread, and val is evaluated).

A figure never fails the command; an error, or an artifact that could not be made, does.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import datetime as dt
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

CALIBRATE = 100
BATCH = 50
NETWORKS = {
    "mobilenet_v1_0.25_224": "signed",
    "squeezenet_1_1_224": "imagenet",
    "shufflenet_v1_0.5x_g3_224": "none-bgr",
}
BACKBONES = {"mobilenet_v2_0.35_224_backbone": "signed", "shufflenet_v2_0.5x_224_backbone": "unit-bgr"}
RESIZE = 256
"""Shorter side before the centre crop, pixels."""
VENDOR = "tflite-int8 by its vendor's default"


def default_recipes():
    """Return the recipes of full int8 in every format that has one."""
    from edgekit.recipe import CALIBRATED, PRECISIONS

    full = [p for p in CALIBRATED if p in ("int8", "w8a8")]
    return [f"{format_}-{p}" for format_, all_ in PRECISIONS.items() for p in full if p in all_]


def prepared_as(preset):
    """Return a preset's numbers behind a centre crop: without it the whole photo would be squeezed in."""
    from edgekit.convert import preprocessing_preset

    return dataclasses.replace(preprocessing_preset(preset), resize=RESIZE)


def photos(data):
    """Return paths and classes of the calibration photos and of the evaluated ones, two pairs of lists."""
    folder = data / "photos-imagenet-classes"
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [(folder / row["file"], int(row["label"])) for row in csv.DictReader(file)]
    return rows[:CALIBRATE], rows[CALIBRATE:]


def flowers(data):
    """Return the same of the flowers, and all of the training photos."""
    folder = data / "flower_photos-128"
    names = sorted(p.name for p in (folder / "train").iterdir() if p.is_dir())
    train, val = (
        [(path, names.index(name)) for name in names for path in sorted((folder / part / name).glob("*.jpg"))]
        for part in ("train", "val")
    )
    return [train[i * len(train) // CALIBRATE] for i in range(CALIBRATE)], val, train


class Images:
    """Photos as a network takes them, read batch by batch."""

    def __init__(self, rows, spec, preprocessing):
        self.rows, self.spec, self.preprocessing = rows, spec, preprocessing
        self.classes = [label for _, label in rows]

    def batches(self):
        """Yield N x the input's shape without its batch."""
        from edgekit.convert.images import read_images

        for begin in range(0, len(self.rows), BATCH):
            paths = [path for path, _ in self.rows[begin : begin + BATCH]]
            yield read_images(paths, self.spec, self.preprocessing)

    def answers(self, run):
        """Return the five largest outputs for each photo, the largest first."""
        import numpy as np

        rows = [np.asarray(run(batch)).reshape(len(batch), -1) for batch in self.batches()]
        return np.argsort(-np.concatenate(rows), axis=1, kind="stable")[:, :5]


def with_head(path, train, preset, place):
    """Save a backbone with a linear head fitted to the flowers by ridge regression; return the path."""
    import keras
    import numpy as np

    from edgekit.artifact import TensorSpec

    backbone = keras.saving.load_model(path, compile=False)
    if len(backbone.outputs[0].shape) == 4:
        pooled = keras.layers.GlobalAveragePooling2D()(backbone.outputs[0])
        backbone = keras.Model(backbone.inputs, pooled)
    spec = TensorSpec(name="input", shape=(1, *backbone.inputs[0].shape[1:]), dtype="float32", layout="NHWC")
    images = Images(train, spec, prepared_as(preset))
    features = np.concatenate([backbone.predict_on_batch(b) for b in images.batches()]).astype(np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - mean) / spread
    wanted = np.eye(1 + max(images.classes))[images.classes]
    gram = scaled.T @ scaled + 0.05 * len(scaled) * np.eye(scaled.shape[1])
    kernel = np.linalg.solve(gram, scaled.T @ (wanted - wanted.mean(axis=0))) / spread[:, None]
    head = keras.layers.Dense(wanted.shape[1])
    network = keras.Model(backbone.inputs, head(backbone.outputs[0]))
    head.set_weights([kernel, wanted.mean(axis=0) - mean @ kernel])
    saved = place / f"{path.stem}_flowers.keras"
    network.save(saved)
    return saved


def vendor_int8(path, inputs, out):
    """Write TFLite's own post-training quantization with default settings; return the path."""
    import keras
    import tensorflow as tf

    network = keras.saving.load_model(path, compile=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()):  # Keras tells of every tensor it saves
        out.write_bytes(converter.convert())
    return out


def artifacts(path, preset, calibration_rows, wanted, place):
    """Convert; return the source, the artifacts' paths by recipe, what failed and what was warned of."""
    from edgekit.convert import convert, from_array
    from edgekit.convert.images import read_images
    from edgekit.recipe import parse_recipes
    from edgekit.source import load_source

    source, preprocessing = load_source(str(path)), prepared_as(preset)
    inputs = read_images([p for p, _ in calibration_rows], source.input, preprocessing)
    calibration = from_array(inputs, origin=f"{len(inputs)} photos")
    made, problems, warnings = {}, {}, []
    if wanted.recipe:
        result = convert(
            source,
            parse_recipes(wanted.recipe),
            place / "bundle",
            calibration=calibration,
            preprocessing=preprocessing,
        )
        made = {a.recipe: (a.format, result.bundle.path_of(a)) for a in result.bundle.artifacts}
        problems = {f.recipe: str(f.error) for f in result.failed}
        warnings = [str(w) for w in result.warnings]
    if wanted.vendor:
        made[VENDOR] = ("tflite", vendor_int8(path, inputs, place / "vendor.tflite"))
    return source, made, problems, warnings


def measure(path, preset, split, wanted, place):
    """Return one network's figures: a row for the float source, a row an artifact."""
    import keras

    from edgekit.convert import CONVERTERS

    begin = time.perf_counter()
    source, made, problems, warnings = artifacts(path, preset, split[0], wanted, place)
    converted = time.perf_counter() - begin
    images = Images(split[1], source.input, prepared_as(preset))
    reference = images.answers(keras.saving.load_model(path, compile=False).predict_on_batch)
    rows = [figures("float", reference, reference, images.classes)]
    for recipe, (format_, file) in made.items():
        converter = CONVERTERS.get(format_)
        answers = images.answers(lambda batch, run=converter.run, file=file: run(file, batch))
        rows.append(figures(recipe, answers, reference, images.classes))
    return {
        "network": path.stem,
        "photos": len(split[1]),
        "calibrated_on": len(split[0]),
        "convert_seconds": converted,
        "rows": rows,
        "problems": problems,
        "warnings": warnings,
    }


def figures(recipe, answers, reference, classes):
    """Return shares of the photos, 0 to 1."""
    import numpy as np

    truth = np.asarray(classes)
    return {
        "recipe": recipe,
        "top1": float(np.mean(answers[:, 0] == truth)),
        "top5": float(np.mean((answers == truth[:, None]).any(axis=1))),
        "agreement": float(np.mean(answers[:, 0] == reference[:, 0])),
    }


def table(networks):
    """Return the figures as Markdown, in percent."""
    lines = [
        "| network | artifact | top-1 | against float | top-5 | agreement | photos |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in networks:
        top1 = found["rows"][0]["top1"]
        for row in found["rows"]:
            change = "" if row["recipe"] == "float" else f"{100 * (row['top1'] - top1):+.1f}"
            lines.append(
                f"| {found['network']} | {row['recipe']} | {100 * row['top1']:.1f} | {change} "
                f"| {100 * row['top5']:.1f} | {100 * row['agreement']:.1f} | {found['photos']} |"
            )
        for recipe, problem in found["problems"].items():
            lines.append(f"| {found['network']} | {recipe} | not made: {problem} | | | | |")
    return "\n".join(lines)


def arguments(argv):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with networks/ and photos-imagenet-classes/")
    parser.add_argument("--network", action="append", help="only this one; may be repeated")
    parser.add_argument("-r", "--recipe", action="append", help="a recipe; may be repeated (full int8)")
    parser.add_argument("--vendor", action="store_true", help="TFLite's own quantization too")
    parser.add_argument("--flowers", action="store_true", help="the backbones too, with a head for flowers")
    parser.add_argument(
        "--json", metavar="FILE", help="write all figures there; - is stdout, and nothing else"
    )
    given = parser.parse_args(argv)
    given.recipe = given.recipe or default_recipes()
    known = NETWORKS | (BACKBONES if given.flowers else {})
    given.network = given.network or list(known)
    for name in given.network:
        if name not in known:
            parser.error(f"no network {name}; there are {', '.join(known)}")
        if not (given.data / "networks" / f"{name}.keras").is_file():
            parser.error(
                f"there is no {name}.keras in {given.data / 'networks'}: give the folder, DATA=folder"
            )
    return given


def one(name, given):
    """Measure one network in a folder of its own."""
    path = given.data / "networks" / f"{name}.keras"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if name in NETWORKS:
            return measure(path, NETWORKS[name], photos(given.data), given, place)
        calibrate, val, train = flowers(given.data)
        preset = BACKBONES[name]
        return measure(with_head(path, train, preset, place), preset, (calibrate, val), given, place)


def main(argv):
    """Measure and print."""
    from edgekit.source.quiet import quiet

    given = arguments(argv)
    begin, networks = time.perf_counter(), []
    for name in given.network:
        with quiet():
            networks.append(one(name, given))
        done = networks[-1]
        sys.stderr.write(f"{name}: {time.perf_counter() - begin:.0f} s\n")
        for warning in done["warnings"]:
            sys.stderr.write(f"{name}: {warning}\n")
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    command = " ".join(["python", *sys.argv])
    report = {"date": date, "command": command, "load": os.getloadavg(), "networks": networks}
    text = json.dumps(report, indent=1) + "\n"
    if given.json != "-":
        sys.stdout.write(f"{table(networks)}\n\n{date}, `{command}`\n")
        if not given.flowers:
            sys.stdout.write("The two backbones are left out: they need a head (--flowers).\n")
    if given.json:
        sys.stdout.write(text) if given.json == "-" else Path(given.json).write_text(text)
    return 1 if any(found["problems"] for found in networks) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
