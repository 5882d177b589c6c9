"""A call that is stopped at any moment leaves a whole bundle, and the next one makes the rest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.convert import convert, from_array, preprocessing_preset
from edgekit.convert.identity import inputs_of, inputs_sha256
from edgekit.convert.leftovers import tidy
from edgekit.errors import ConversionError, UsageError
from edgekit.recipe import Recipe, default_recipe_names, parse_recipes

pytestmark = pytest.mark.convert
NAMES = ["tflite-fp32", "tflite-int8", "onnx-fp32"]
RECIPES = parse_recipes(NAMES)

RUNS = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from edgekit.source import lean
lean.own_process()
with lean.imports():
    import tensorflow, tf2onnx, onnxruntime, litert_quantizer, ai_edge_litert.interpreter
from edgekit.convert import convert, from_array
from edgekit.recipe import parse_recipes
from edgekit.source import load_source

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it

def run(job):
    left = [job.get("replace", 0)]
    plain = Path.replace

    def replace(path, target):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(path, target)

    def tell(step):
        now = [step.recipe, step.phase, "begin" if step.seconds is None else "end"]
        if now == job.get("at") and step.done in (0, 3):
            os.kill(os.getpid(), job["signal"])

    Path.replace = replace
    data = from_array(np.load(job["data"]))
    result = convert(load_source(job["source"]), parse_recipes(job["recipes"]), Path(job["out"]),
        calibration=data, labels=[str(n) for n in range(10)], on_step=tell)
    Path(job["out"] + ".json").write_text(json.dumps(result.to_json()))

def begin(job):
    child = os.fork()
    if child:
        return child
    try:
        run(job)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for line in sys.stdin:
    begun, ended = [], []
    for job in json.loads(line):
        if len(begun) == 2:
            ended.append(end(begun.pop(0)))
        begun.append(begin(job))
    print(json.dumps(ended + [end(child) for child in begun]), flush=True)
"""
"""Each job in a process of its own, two at a time, forked where the frameworks have not run yet."""


@pytest.fixture(scope="module")
def runs(tiny_file, calibration, tmp_path_factory):
    """Run jobs, each in a process; return their exit codes."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork")
    data = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(data, calibration.inputs[:6])

    given = {"source": str(tiny_file), "data": str(data), "recipes": NAMES}
    parent = subprocess.Popen(
        [sys.executable, "-c", RUNS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip

    def start(jobs):
        said = json.dumps([{**given, **job, "out": str(job["out"])} for job in jobs])
        parent.stdin.write(said + "\n")
        parent.stdin.flush()
        return json.loads(parent.stdout.readline())

    with parent:
        yield start


def whole(out):
    """Return the recipes of a bundle in which every file is as the manifest says; none without a manifest."""
    if not (out / "bundle.json").exists():
        return []
    bundle = Bundle.load(out)
    bundle.check()
    return [a.recipe for a in bundle.artifacts]


def shas(bundle):
    return {a.recipe: a.sha256 for a in bundle.artifacts}


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


POINTS = [
    (["", "freeze", "begin"], "SIGKILL", []),
    (["", "calibrate", "begin"], "SIGINT", []),
    (["tflite-fp32", "prove", "begin"], "SIGINT", []),
    (["tflite-int8", "convert", "begin"], "SIGINT", ["tflite-fp32"]),
    (["tflite-int8", "write", "begin"], "SIGKILL", ["tflite-fp32"]),
    (["onnx-fp32", "prove", "end"], "SIGKILL", ["tflite-fp32", "tflite-int8"]),
    (["onnx-fp32", "write", "end"], "SIGINT", NAMES),
]


def test_a_signal_at_any_step_leaves_a_whole_bundle_and_the_next_call_makes_the_rest(runs, tmp_path):
    jobs = [
        {"out": tmp_path / str(number) / "b", "at": at, "signal": int(signal.Signals[name])}
        for number, (at, name, _) in enumerate(POINTS)
    ]
    for job in jobs:
        job["out"].parent.mkdir()
    assert runs(jobs) == [130 if name == "SIGINT" else -signal.SIGKILL for _, name, _ in POINTS]
    for job, (_, name, done) in zip(jobs, POINTS, strict=True):
        assert whole(job["out"]) == done
        if name == "SIGINT":
            assert not list(job["out"].parent.glob(".*.part"))
    chosen = (2, 4, 5)
    again, clean = [{"out": jobs[number]["out"]} for number in chosen], tmp_path / "clean"
    assert runs([*again, {"out": clean}]) == [0] * (len(again) + 1)
    wanted = shas(Bundle.load(clean))
    for job, number in zip(again, chosen, strict=True):
        done = POINTS[number][2]
        said = json.loads((job["out"].parent / "b.json").read_text())
        assert said["kept"] == done
        assert [a["recipe"] for a in said["artifacts"] if a["made"]] == [n for n in NAMES if n not in done]
        assert whole(job["out"]) == NAMES
        assert shas(Bundle.load(job["out"])) == wanted
        assert everything(job["out"]) == everything(clean)
        assert sorted(p.name for p in job["out"].parent.iterdir()) == ["b", "b.json"]


def test_a_kill_before_any_file_takes_its_place_leaves_a_whole_bundle(runs, tmp_path):
    """Labels, record, report, golden arrays, manifest; then artifact and manifest, over and over."""
    names = ["tflite-fp32", "tflite-int8"]
    places = (1, 3, 6, 7, 8, 9, 10)
    jobs = [{"out": tmp_path / str(n), "recipes": names, "replace": n} for n in places]
    assert runs(jobs) == [-signal.SIGKILL] * len(places)
    assert [whole(job["out"]) for job in jobs] == [[]] * 5 + [names[:1]] * 2
    again = [{"out": tmp_path / str(n), "recipes": names} for n in (3, 7, 10, 0)]
    assert runs(again) == [0] * len(again)
    files = everything(tmp_path / "0")
    for job in again:
        assert whole(job["out"]) == names
        assert everything(job["out"]) == files
        assert not list(tmp_path.glob(f".{job['out'].name}.*.part"))


def test_a_kill_while_an_artifact_is_replaced_leaves_a_whole_bundle(runs, calibration, tmp_path):
    """Other data: labels, no record, record and report, all; then no artifact, the artifact, all."""
    names = ["tflite-int8"]
    places = (0, 2, 4, 5, 6, 7, 8)
    outs = [tmp_path / str(n) for n in places]
    assert runs([{"out": outs[0], "recipes": names}]) == [0]
    first = shas(Bundle.load(outs[0]))
    for out in outs[1:]:
        shutil.copytree(outs[0], out)
    np.save(tmp_path / "other.npy", calibration.inputs[:5] * 0.5)
    given = {"recipes": names, "data": str(tmp_path / "other.npy")}
    jobs = [{**given, "out": out, "replace": n} for n, out in zip(places, outs, strict=True)]
    assert runs(jobs) == [0] + [-signal.SIGKILL] * 6
    assert [whole(out) for out in outs] == [names] * 5 + [[]] * 2
    chosen = (outs[2], outs[6])
    assert runs([{**given, "out": out} for out in chosen]) == [0, 0]
    wanted = shas(Bundle.load(outs[0]))
    assert wanted != first
    assert all(whole(out) == names and shas(Bundle.load(out)) == wanted for out in chosen)


def test_the_same_inputs_give_the_same_bytes_in_every_process(tiny_file, calibration, tmp_path):
    """Hashes of strings differ from process to process; nothing that is written may depend on them."""
    np.save(tmp_path / "data.npy", calibration.inputs)
    begun = [
        subprocess.Popen(
            [
                sys.executable, "-m", "edgekit.cli.main", "convert", str(tiny_file), "--calibrate",
                str(tmp_path / "data.npy"), "--preprocess", "signed", "-o", str(tmp_path / seed),
            ],
            env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    for process in begun:
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 0, said.decode()
    one, two = (Bundle.load(tmp_path / seed) for seed in ("1", "2"))
    assert set(shas(one)) == set(default_recipe_names())
    assert shas(one) == shas(two)
    assert one.golden == two.golden
    for name in ("bundle.json", "calibration.json", "quantization.json"):
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name


@pytest.fixture(scope="module")
def grown(source, calibration, tmp_path_factory):
    """Return a bundle of three recipes, and a way to convert into it again that tells what was done."""
    out = tmp_path_factory.mktemp("grown") / "b"

    def again(recipes=RECIPES, **changes):
        steps = []
        result = convert(
            source, recipes, out, **{"calibration": calibration, **changes}, on_step=steps.append
        )
        return result, {(s.recipe, s.phase) for s in steps if s.seconds is not None}

    assert again()[0].made == tuple(NAMES)
    return out, again


def test_what_is_there_is_not_made_again(grown):
    out, again = grown
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    result, done = again()
    assert done == {(name, "kept") for name in NAMES}, "nothing is frozen, calibrated or run"
    assert (result.made, result.kept, result.failed) == ((), tuple(NAMES), ())
    document = result.to_json()
    assert document["kept"] == NAMES
    assert not any(a["made"] for a in document["artifacts"])
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == stamps


def test_only_what_other_inputs_make_is_made_again(grown, calibration):
    out, again = grown
    before = shas(Bundle.load(out))
    result, done = again(calibration_method="mse")
    assert result.made == ("tflite-int8",)
    assert result.kept == ("tflite-fp32", "onnx-fp32")
    assert ("", "calibrate") in done
    assert ("", "golden") not in done
    after = shas(Bundle.load(out))
    assert {name for name in NAMES if before[name] != after[name]} == {"tflite-int8"}
    result, _ = again()
    assert result.made == ("tflite-int8",)
    assert shas(Bundle.load(out)) == before


def test_all_is_made_again_when_asked(grown):
    result, done = grown[1](parse_recipes(["tflite-fp32"]), remake=True)
    assert (result.made, result.kept) == (("tflite-fp32",), ())
    assert ("tflite-fp32", "convert") in done


@pytest.mark.parametrize(
    ("victim", "made"),
    [
        ("artifacts/tflite-fp32.tflite", ("tflite-fp32",)),
        ("artifacts/onnx-fp32.onnx", ("onnx-fp32",)),
        ("calibration.json", ("tflite-int8",)),
        ("quantization.json", ("tflite-int8",)),
        ("golden/outputs.npy", ()),
    ],
)
@pytest.mark.parametrize("gone", [True, False])
def test_what_is_damaged_or_gone_is_made_again(victim, made, gone, grown):
    out, again = grown
    bundle = Bundle.load(out)
    path = out / (bundle.golden.outputs if victim.startswith("golden") else victim)
    path.unlink() if gone else path.write_bytes(b"x")
    result, _ = again()
    assert result.made == made
    assert set(result.kept) == set(NAMES) - set(made)
    assert whole(out) == NAMES


def test_data_take_the_place_of_noise_and_what_is_there_is_measured_anew(source, calibration, tmp_path):
    first = convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "b").bundle
    result = convert(source, parse_recipes(["tflite-fp32"]), tmp_path / "b", calibration=calibration)
    assert result.kept == ("tflite-fp32",)
    now = Bundle.load(tmp_path / "b")
    assert now.golden.origin == "calibration data"
    assert now.artifacts[0].parity != first.artifacts[0].parity
    assert now.artifacts[0].sha256 == first.artifacts[0].sha256
    assert len(list((tmp_path / "b" / "golden").iterdir())) == 2, "the noise is gone"
    now.check()


def test_labels_and_preprocessing_are_taken_in_though_nothing_is_made(source, tmp_path):
    recipes = parse_recipes(["tflite-fp32"])
    convert(source, recipes, tmp_path / "b")
    labels, signed = [f"class {n}" for n in range(10)], preprocessing_preset("signed")
    result = convert(source, recipes, tmp_path / "b", labels=labels, preprocessing=signed)
    assert result.made == ()
    now = Bundle.load(tmp_path / "b")
    assert (now.label_names(), now.preprocessing) == (labels, signed)


def test_a_failure_is_tried_again_and_is_neither_made_nor_kept(grown, monkeypatch):
    from edgekit.convert.tflite import TfliteConverter

    def fail(*_):
        raise ConversionError("no")

    with monkeypatch.context() as patched:
        patched.setattr(TfliteConverter, "convert", fail)
        result, _ = grown[1](parse_recipes(["tflite-fp16", "tflite-fp32"]))
        assert [f.recipe for f in result.failed] == ["tflite-fp16"]
        assert (result.made, result.kept) == ((), ("tflite-fp32",))
    assert grown[1](parse_recipes(["tflite-fp16"]))[0].made == ("tflite-fp16",)


def test_leftovers_of_the_living_and_of_users_stay(source, tmp_path):
    out = tmp_path / "b"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living, gone = f".b.{os.getppid()}.part", f".b.{dead.pid}.part"
    for name in (living, gone, ".other.1.part", ".b.part", f".bb.{dead.pid}.part"):
        (tmp_path / name).mkdir()
    convert(source, parse_recipes(["tflite-fp32"]), out)
    assert {p.name for p in tmp_path.iterdir()} == {
        "b", living, ".other.1.part", ".b.part", f".bb.{dead.pid}.part",
    }  # fmt: skip
    for name in ("tflite-int8.tflite", "mine.txt"):
        (out / "artifacts" / name).write_text("x")
    tidy(Bundle.load(out))
    assert sorted(p.name for p in (out / "artifacts").iterdir()) == ["mine.txt", "tflite-fp32.tflite"]


def test_a_folder_of_ones_own_is_no_unfinished_bundle(source, tmp_path):
    out = tmp_path / "b"
    (out / "golden").mkdir(parents=True)
    with pytest.raises(UsageError, match="other things in it"):
        convert(source, parse_recipes(["tflite-fp32"]), out)
    assert everything(out) == ["golden"]


def test_the_identity_of_inputs_holds_what_decides_the_bytes_and_nothing_else(source, calibration):
    int8, fp32 = Recipe.parse("tflite-int8"), Recipe.parse("tflite-fp32")
    plain = {"calibration": calibration, "method": "minmax"}
    other = from_array(calibration.inputs * 2)
    changes = ({"calibration": other}, {"method": "mse"}, {"tuning": "auto"}, {"tuning": ("a", "b")})
    for recipe, decides in ((int8, True), (fp32, False)):
        first = inputs_sha256(inputs_of(recipe, source, **plain))
        assert first == inputs_sha256(inputs_of(recipe, source, **plain))
        for change in changes:
            assert (inputs_sha256(inputs_of(recipe, source, **{**plain, **change})) != first) is decides
    found = inputs_of(int8, source, **plain, tuning=("a", "b"))
    assert found["tuning"] == "a,b"
    assert {"litert-quantizer", "ai-edge-litert", "numpy", "edgekit", "source", "recipe"} <= set(found)
