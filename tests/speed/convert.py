"""Time EdgeKit and the vendors' converters in turn: one network, one set of calibration images, one run.

    python tests/speed/convert.py [--network NAME ...] [--all] [--repeat 3] [--json FILE]

Five variants are made of each network: TFLite fp32 and int8, ONNX fp32 and int8 (QDQ), Core ML fp16. EdgeKit
makes them by one call in one fresh process, each proved against its source. The vendors' way is what their
guides say, a fresh process a variant, from the same .keras file and the same 100 inputs; nothing is proved:

    tflite-fp32   tf.lite.TFLiteConverter.from_keras_model
    tflite-int8   the same, Optimize.DEFAULT, a representative dataset, int8 in and out
    onnx-fp32     tf2onnx.convert.from_keras; from_function where that can't take the network (a note says so)
    onnx-int8     onnxruntime.quantization.quantize_static on the file above: QDQ, per channel, int8
    coreml-fp16   coremltools.convert on the network's concrete function: an ML program, its default precision

Ratios: "whole processes" has all, imports included; "conversion" begins when all frameworks are imported (of
EdgeKit's those that its command needs at once; what it imports as it goes counts), and of the vendors' four
readings of the network only one is counted. A ratio never fails the command; an error
does. After ctrl-C the whole rounds count.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import importlib
import json
import operator
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORK = "mobilenet_v2_1.0"
FAMILIES = ("mobilenet_v1_1.0", NETWORK, "shufflenet_v1_1.0x_g3", "shufflenet_v2_1.0x", "squeezenet_1.1")
VARIANTS = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8", "coreml-fp16")
IMAGES = 100
TARGET = 0.2
MEMORY_TARGET_MB = 2048
_MIB = 1024.0
_TAIL = 3000
_LEAVE = {"TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1", "KERAS_BACKEND": "tensorflow"}
_KERAS = ("tensorflow", "keras")
_IMPORTS = {
    "prepare": (),
    "tflite-fp32": _KERAS,
    "tflite-int8": _KERAS,
    "onnx-fp32": (*_KERAS, "tf2onnx", "onnx"),
    "onnx-int8": ("onnx", "onnxruntime", "onnxruntime.quantization"),
    "coreml-fp16": (*_KERAS, "coremltools"),
}
_IMPORTS["edgekit"] = (*_KERAS, "edgekit.convert", "edgekit.source")


class WorkFailedError(Exception):
    """A process of this benchmark failed."""


def prepare(place, name):
    """Save a zoo network with seeded weights and its calibration inputs."""
    import numpy as np

    from edgekit import zoo
    from edgekit.zoo.random_weights import prepared, synthetic_images

    network = zoo.build(name, seed=0)
    side = network.inputs[0].shape[1]
    images = synthetic_images(IMAGES, side, 3, 7)
    np.save(place / "calibration.npy", prepared(images, zoo.describe(name).preprocessing).astype(np.float32))
    network.save(place / "network.keras")


def edgekit(place):
    """Convert all variants by one call; return seconds by phase and a note."""
    from edgekit.convert import convert, read_data
    from edgekit.recipe import parse_recipes
    from edgekit.source import load_source

    begin = time.perf_counter()
    source = load_source(str(place / "network.keras"))
    calibration = read_data(place / "calibration.npy", source.input, None)
    seconds = {"read": time.perf_counter() - begin}
    with tempfile.TemporaryDirectory(dir=place) as out:
        result = convert(source, parse_recipes(VARIANTS), Path(out) / "bundle", calibration=calibration)
    seconds |= result.seconds
    if result.failed:
        raise WorkFailedError("; ".join(f"{f.recipe}: {f.error}" for f in result.failed))
    seconds["all"] = time.perf_counter() - begin
    return seconds, f"calibration {result.bundle.provenance['calibration_method']}; all proved"


def vendor(place, variant):
    """Convert one variant as its vendor's guide says; return seconds by phase and a note."""
    import numpy as np

    begin = time.perf_counter()
    network = None
    if variant != "onnx-int8":
        import keras

        network = keras.saving.load_model(place / "network.keras", compile=False)
    calibration = np.load(place / "calibration.npy") if variant.endswith("int8") else None
    read = time.perf_counter()
    make = {"tflite": _tflite, "onnx": _onnx, "coreml": _coreml}[variant.partition("-")[0]]
    path = place / f"vendor-{variant}"
    note, seconds = make(network, calibration, path)
    size = sum(p.stat().st_size for p in place.rglob("*") if p.is_file() and path.name in str(p))
    return {"read": read - begin, variant: seconds}, f"{size / 1e6:.2f} MB, {note}"


def _tflite(network, calibration, path):
    import tensorflow as tf

    begin = time.perf_counter()
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return "from_keras_model", time.perf_counter() - begin


def _onnx(network, calibration, path):
    if calibration is not None:
        return _onnx_int8(calibration, path)
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((1, *network.inputs[0].shape[1:]), tf.float32, name="input")]
    begin = time.perf_counter()
    try:
        tf2onnx.convert.from_keras(network, input_signature=signature, output_path=str(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"from_function: from_keras fails on this Keras ({type(error).__name__}: {error})"
    else:
        return "from_keras", time.perf_counter() - begin
    begin = time.perf_counter()
    function = tf.function(lambda given: network(given, training=False), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, output_path=str(path))
    return why[:160], time.perf_counter() - begin


def _onnx_int8(calibration, path):
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    begin = time.perf_counter()
    given = path.with_name("vendor-onnx-fp32")
    options = {"providers": ["CPUExecutionProvider"]}
    name = ort.InferenceSession(str(given), **options).get_inputs()[0].name
    rows = iter(calibration)

    class Reader(CalibrationDataReader):
        def get_next(self):
            row = next(rows, None)
            return None if row is None else {name: row[None]}

    quantize_static(
        str(given),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8,
    )
    return "quantize_static on the fp32 file", time.perf_counter() - begin


def _coreml(network, _calibration, path):
    import coremltools as ct
    import tensorflow as tf

    begin = time.perf_counter()
    shape = (1, *network.inputs[0].shape[1:])
    function = tf.function(lambda given: network(given, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="input"))
    package = ct.convert([concrete], source="tensorflow", convert_to="mlprogram")
    package.save(str(path.with_name(path.name + ".mlpackage")))
    return "concrete function", time.perf_counter() - begin


def _imports():
    """Import as EdgeKit's command does: it leaves out what no conversion needs."""
    from edgekit.source import lean

    lean.own_process()
    return lean.imports()


def work(role, place, name):
    """Do one role and write what it took beside the network."""
    begin = time.perf_counter()
    with _imports() if role == "edgekit" else contextlib.nullcontext():
        for module in _IMPORTS[role]:
            importlib.import_module(module)
    found = {"import": time.perf_counter() - begin, "seconds": {}, "note": ""}
    if role == "prepare":
        prepare(place, name)
    else:
        found["seconds"], found["note"] = edgekit(place) if role == "edgekit" else vendor(place, role)
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    found["peak_mb"] = max(mine.ru_maxrss, children.ru_maxrss) / _MIB
    found["cpu"] = sum(usage.ru_utime + usage.ru_stime for usage in (mine, children))
    (place / "found.json").write_text(json.dumps(found))


def fresh(role, place, name):
    """Run a role in a fresh process; return what it found and the process's whole seconds."""
    script = str(Path(__file__).resolve())
    argv = [sys.executable, script, "--role", role, "--place", str(place), "--network", name]
    begin = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | _LEAVE, check=False)
    whole = time.perf_counter() - begin
    if done.returncode:
        raise WorkFailedError(f"{name}: {role} failed\n{done.stderr[-_TAIL:]}")
    return json.loads((place / "found.json").read_text()) | {"whole": whole}


def rounds(name, repeat, tell):
    """Time EdgeKit and the vendors in turn, `repeat` times; return lists of findings by role."""
    found = {role: [] for role in ("edgekit", *VARIANTS)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tell(f"{name}: prepare")
        fresh("prepare", place, name)
        try:
            for number in range(repeat):
                for role, list_ in found.items():
                    tell(f"{name}: round {number + 1} of {repeat}, {role}")
                    list_.append(fresh(role, place, name))
        except KeyboardInterrupt:
            if not (whole := min(map(len, found.values()))):
                raise
            found = {role: list_[:whole] for role, list_ in found.items()}
    return found


def summary(name, found):
    """Return medians of one network's rounds, and the ratios of the totals' medians."""

    def middle(role, *keys):
        return statistics.median(functools.reduce(operator.getitem, keys, row) for row in found[role])

    def vendors(pick):
        count = len(found["edgekit"])
        return statistics.median(sum(pick(found[v][i]) for v in VARIANTS) for i in range(count))

    whole = (middle("edgekit", "whole"), vendors(lambda row: row["whole"]))
    read = statistics.median(middle(v, "seconds", "read") for v in VARIANTS if v != "onnx-int8")
    conversions = [sum(found[v][i]["seconds"][v] for v in VARIANTS) for i in range(len(found["edgekit"]))]
    conversion = (middle("edgekit", "seconds", "all"), read + statistics.median(conversions))
    first = [row["seconds"]["all"] for row in found["edgekit"]]
    phases = [key for key in found["edgekit"][0]["seconds"] if key != "all"]
    return {
        "network": name,
        "rounds": len(found["edgekit"]),
        "edgekit": {key: middle("edgekit", "seconds", key) for key in phases},
        "vendors": {v: middle(v, "seconds", v) for v in VARIANTS} | {"read": read},
        "whole": whole,
        "conversion": conversion,
        "cpu": (middle("edgekit", "cpu"), vendors(lambda row: row["cpu"])),
        "ratio_whole": whole[0] / whole[1],
        "ratio_conversion": conversion[0] / conversion[1],
        "ratio_cpu": middle("edgekit", "cpu") / vendors(lambda row: row["cpu"]),
        "rounds_conversion": [a / (read + b) for a, b in zip(first, conversions, strict=True)],
        "peak_mb": {role: max(row["peak_mb"] for row in rows) for role, rows in found.items()},
        "notes": {role: rows[0]["note"] for role, rows in found.items()},
    }


def table(row):
    """Return one network's medians as Markdown."""
    mine, theirs, peak = row["edgekit"], row["vendors"], row["peak_mb"]
    lines = [
        f"### {row['network']}, {IMAGES} calibration images, medians of {row['rounds']}",
        "",
        "| seconds | EdgeKit | vendors | peak MB, vendors |",
        "|---|---|---|---|",
    ]
    for phase in (*(p for p in mine if p not in VARIANTS), *VARIANTS):
        other = f"{theirs[phase]:.1f}" if phase in theirs else ""
        memory = f"{peak[phase]:.0f}" if phase in VARIANTS else ""
        lines.append(f"| {phase} | {mine.get(phase, 0.0):.1f} | {other} | {memory} |")
    for what, key in (("conversion", "conversion"), ("whole processes", "whole"), ("processor time", "cpu")):
        lines.append(f"| **{what}** | {row[key][0]:.1f} | {row[key][1]:.1f} | |")
    most = max(peak[v] for v in VARIANTS)
    rounds = ", ".join(f"{ratio:.2f}" for ratio in row["rounds_conversion"])
    lines += [
        "",
        f"ratio, conversion (imports done): {row['ratio_conversion']:.2f} (target {TARGET})",
        f"the same by round (far apart: the load changed): {rounds}",
        f"ratio, processor time: {row['ratio_cpu']:.2f} (imports included; depends least on the load)",
        f"ratio, whole processes: {row['ratio_whole']:.2f} (target {TARGET})",
        f"peak memory: EdgeKit {peak['edgekit']:.0f} MB (target {MEMORY_TARGET_MB}), vendors {most:.0f} MB",
        *(f"{role}: {note}" for role, note in row["notes"].items()),
    ]
    return "\n".join(lines)


def overview(rows):
    """Return every network's ratios and peak memory as Markdown."""
    lines = ["| network | conversion | processor time | whole processes | peak MB |", "|---|---|---|---|---|"]
    for row in rows:
        ratios = [row[f"ratio_{key}"] for key in ("conversion", "cpu", "whole")]
        cells = [row["network"], *(f"{ratio:.2f}" for ratio in ratios), f"{row['peak_mb']['edgekit']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions():
    """Return the machine and its load, which every figure depends on."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        models = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": processor,
        "cores": cores,
        "nice": os.nice(0),
        "load": [round(value, 2) for value in os.getloadavg()],
        "command": " ".join(["python", *sys.argv]),
    }


def say(text, stream=sys.stdout):
    """Write a line."""
    stream.write(text + "\n")
    stream.flush()


def arguments(argv):
    """Read the command line."""
    from edgekit import zoo

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", action="append", help=f"a zoo name; may be repeated ({NETWORK})")
    parser.add_argument("--all", action="store_true", help="one network of each family")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - is stdout, nothing else")
    parser.add_argument("--role", choices=sorted(_IMPORTS), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.repeat < 1:
        parser.error("--repeat takes 1 or more")
    given.network = given.network or (list(FAMILIES) if given.all else [NETWORK])
    if unknown := [name for name in given.network if not zoo.is_zoo_name(name)]:
        parser.error(f"no network of the zoo: {', '.join(unknown)}; there are {', '.join(zoo.zoo_names())}")
    return given


def main(argv):
    """Run the benchmark, or one role of it."""
    given = arguments(argv)
    if given.role:
        work(given.role, given.place, given.network[0])
        return 0
    alone = given.json == "-"
    before, rows, everything, failed = conditions(), [], {}, []
    for name in given.network:
        try:
            found = rounds(name, given.repeat, lambda text: say(text, sys.stderr))
        except WorkFailedError as error:
            say(str(error), sys.stderr)
            failed.append(name)
            continue
        everything[name] = found
        rows.append(summary(name, found))
        if not alone:
            say(table(rows[-1]) + "\n")
    after = conditions()
    if not alone:
        say(overview(rows) + "\n" if len(rows) > 1 else "")
        say(f"{before['date']}, {before['processor']}, {before['cores']} cores, nice {before['nice']}")
        say(f"load {before['load']} before, {after['load']} after; {before['command']}")
    if given.json:
        report = {"conditions": [before, after], "networks": rows, "samples": everything, "failed": failed}
        text = json.dumps(report, indent=1)
        say(text) if alone else Path(given.json).write_text(text + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
