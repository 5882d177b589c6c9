"""`edgekit convert`: a source becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command
from edgekit.cli.progress import Progress, steps_shown
from edgekit.cli.quantization import print_quantization

if TYPE_CHECKING:
    from argparse import Namespace

    from edgekit.bundle import Bundle
    from edgekit.convert import ConvertResult

_EPILOG = """\
examples:
  edgekit convert mobilenet_v2_1.0@96 -r tflite-fp32 -r onnx-fp32 -o mobilenet
  edgekit convert mine.keras --preprocess unit --calibrate photos/ --labels labels.txt -o mine
  edgekit convert squeezenet_1.1 --weights imagenet --calibrate photos/ --for raspberry-pi-5 -o squeezenet"""


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(
        commands, "convert", "convert a source to a bundle of proved artifacts", convert, epilog=_EPILOG
    )
    parser.add_argument("source", metavar="SOURCE", help="zoo name, .keras, .h5, .onnx, .tflite, SavedModel")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "-r", "--recipe", action="append", default=[], metavar="RECIPE",
        help="what to make; repeat for several; fp32, fp16 and int8 of every format when left out",
    )  # fmt: skip
    parser.add_argument("--weights", default="none", metavar="W", help="none (seeded), imagenet, or a file")
    parser.add_argument("--classes", type=int, default=1000, help="of a zoo network (default 1000)")
    parser.add_argument("--resolution", type=int, help="height and width where they are open, in pixels")
    parser.add_argument(
        "--input-shape", type=_shape, metavar="N,...",
        help="of a .onnx source whose input leaves more open: 1,3,224,224",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights and golden noise (default 0)")
    parser.add_argument(
        "--calibrate", type=Path, metavar="DATA",
        help="folder of images, .npy or .npz: representative inputs, needed by int8",
    )  # fmt: skip
    parser.add_argument("--calibrate-limit", type=int, default=200, metavar="N", help="use N of them at most")
    parser.add_argument(
        "--calibration-method", default="minmax", metavar="NAME",
        help="how ranges are found: minmax (default), moving-average, percentile, mse or entropy",
    )  # fmt: skip
    parser.add_argument(
        "--tuning", action="append", default=[], metavar="NAME[,NAME]",
        help="how int8 keeps the network's answers: auto (default) tries all and keeps what helps, none, or "
        "repair (dead channels), equalize (channels' ranges), pick (each tensor's cheapest range method), "
        "ranges (cut), bias (means), round (weights)",
    )  # fmt: skip
    parser.add_argument("--preprocess", metavar="NAME", help="how images become inputs: see README")
    parser.add_argument(
        "--fuse-preprocessing", action="store_true",
        help="build it into every artifact, which then takes RGB pixels 0..255 at the network's own size",
    )  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the classes' names, one a line")
    parser.add_argument(
        "--remake", action="store_true",
        help="make again what is in the bundle already, made from the same inputs",
    )  # fmt: skip
    parser.add_argument(
        "--for", dest="target", metavar="TARGET", help="only the formats that this target takes"
    )


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _tuning(given: list[str]) -> list[str]:
    """Return the names of repeated and comma-separated options; auto when there is none."""
    return [name.strip() for words in given for name in words.split(",")] or ["auto"]


def convert(args: Namespace) -> int:
    """Convert a source."""
    from edgekit import convert as engine
    from edgekit.source import load_source

    engine.known_method(args.calibration_method)
    tuning = engine.known_tuning(_tuning(args.tuning))
    recipes, left_out = engine.wanted(args.recipe, target=args.target, calibrated=args.calibrate is not None)
    with Progress(quiet=args.json) as progress:
        progress.step(f"reading {args.source}")
        source = load_source(
            args.source,
            weights=args.weights,
            classes=args.classes,
            resolution=args.resolution,
            seed=args.seed,
            input_shape=args.input_shape,
        )
        preprocessing = engine.preprocessing_of(source, args.preprocess)
        if args.fuse_preprocessing:
            progress.step("building the preprocessing in")
            source = engine.fuse_preprocessing(source, preprocessing)
            preprocessing = source.preprocessing
        calibration = None
        if args.calibrate is not None:
            progress.step(f"reading {args.calibrate}")
            calibration = engine.read_data(
                args.calibrate, source.inputs[0], preprocessing, limit=args.calibrate_limit
            )
        result = engine.convert(
            source,
            recipes,
            args.out,
            calibration=calibration,
            labels=engine.read_labels(args.labels) if args.labels else None,
            preprocessing=preprocessing,
            calibration_method=args.calibration_method,
            tuning=tuning or ("none",),
            remake=args.remake,
            on_step=steps_shown(progress, finished=("convert", "kept")),
        )
    _print(result, left_out, as_json=args.json)
    return 1 if result.failed else 0


def _print(result: ConvertResult, left_out: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
    else:
        if result.bundle is not None:
            _print_table(result.bundle)
        if result.quantization is not None:
            print_quantization(result.quantization)
        if result.bundle is not None and result.bundle.fused is not None:
            say(f"built in: {result.bundle.fused}; inputs are RGB pixels, 0..255")
        if left_out:
            say(f"left out: {', '.join(left_out)} (int8 needs representative inputs: --calibrate DATA)")
    for warning in result.warnings:
        say(f"edgekit: warning: {warning}")
    for failure in result.failed:
        say(f"edgekit: {failure.recipe}: {failure.error}")


def _print_table(bundle: Bundle) -> None:
    from edgekit.report.table import print_table
    from edgekit.units import bytes_text

    rows = []
    for artifact in bundle.artifacts:
        parity = artifact.parity
        rows.append(
            (
                artifact.recipe,
                bytes_text(artifact.size_bytes),
                "-" if parity is None else f"{parity.snr_db:.1f} dB",
                "-" if parity is None else f"{parity.max_abs_error:.2g}",
                "-" if parity is None else f"{parity.top1_agreement:.0%}",
                artifact.provenance.get("proof", ""),
                artifact.sha256[:12],
            )
        )
    columns = ("recipe", "size", "signal to error", "largest error", "same top-1", "proof", "sha256")
    print_table(out(), f"{bundle.source.name} -> {bundle.root}", columns, rows, notes=[])
