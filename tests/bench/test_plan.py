"""Plans: everything wrong is found before a device is touched."""

from dataclasses import replace

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.bench.golden import stage, wants_channels_first
from edgekit.bench.plan import BenchPlan, make_plan
from edgekit.bundle import Bundle
from edgekit.errors import UnknownNameError, UsageError
from edgekit.targets import Device


def test_a_bundle_is_all_its_artifacts(make_bundle):
    bundle = make_bundle()
    plan = make_plan([bundle.root], ["local://", Device.parse("ssh://pi@board")])
    assert [(i.device.address, i.work.ref.recipe, i.runtime) for i in plan.items] == [
        ("local://", "tflite-fp32", "litert"),
        ("local://", "onnx-int8", "onnxruntime"),
        ("ssh://pi@board", "tflite-fp32", "litert"),
        ("ssh://pi@board", "onnx-int8", "onnxruntime"),
    ]
    assert [(s.device, s.recipe) for s in plan.skipped] == [
        ("local://", "coreml-fp32"),
        ("ssh://pi@board", "coreml-fp32"),
    ]
    assert plan.skipped[0].reason
    assert [d.address for d in plan.devices] == ["local://", "ssh://pi@board"]
    ref = plan.items[0].work.ref
    assert (ref.source, ref.bundle, ref.precision) == ("mobilenet_v2", str(bundle.root), "fp32")


def test_recipes_pick(make_bundle):
    bundle = make_bundle()
    plan = make_plan([str(bundle.root)], ["local://"], recipes=["onnx-int8"])
    assert [item.work.ref.recipe for item in plan.items] == ["onnx-int8"]
    assert plan.skipped == ()
    with pytest.raises(UnknownNameError, match="did you mean 'onnx-int8'"):
        make_plan([bundle.root], ["local://"], recipes=["onx-int8"])
    with pytest.raises(UsageError, match="recipe in"):
        make_plan([bundle.root], ["local://"], recipes=["tflite-int8"])


def test_what_is_named_by_itself_has_to_run(make_bundle):
    bundle = make_bundle()
    with pytest.raises(UsageError, match="can't run on local://"):
        make_plan([bundle.root], ["local://"], recipes=["coreml-fp32"])
    with pytest.raises(UsageError, match="can't run on local://"):
        make_plan([bundle.root / "artifacts/coreml-fp32.mlpackage"], ["local://"])
    with pytest.raises(UsageError, match="nothing to bench") as caught:
        make_plan([make_bundle("coreml-fp32", name="apple").root], ["local://"])
    assert "coreml-fp32 was left out" in caught.value.hint


def test_an_artifact_in_a_bundle_brings_its_golden_inputs(make_bundle, monkeypatch):
    bundle = make_bundle()
    monkeypatch.chdir(bundle.root / "artifacts")
    work = make_plan(["tflite-fp32.tflite"], ["local://"]).items[0].work
    assert work.ref.recipe == "tflite-fp32"
    assert work.artifact == bundle.artifacts[0]


@pytest.mark.parametrize(("name", "runtime"), [("mine.tflite", "litert"), ("mine.onnx", "onnxruntime")])
def test_a_bare_file(tmp_path, name, runtime):
    path = tmp_path / name
    path.write_bytes(b"content")
    item = make_plan([path], ["local://"]).items[0]
    assert (item.runtime, item.work.bundle, item.work.artifact) == (runtime, None, None)
    assert (item.work.ref.recipe, item.work.ref.precision, item.work.ref.size_bytes) == (name, "", 7)


def test_a_strange_file_beside_artifacts_is_bare(make_bundle):
    bundle = make_bundle()
    path = bundle.root / "artifacts/other.tflite"
    path.write_bytes(b"x")
    assert make_plan([path], ["local://"]).items[0].work.bundle is None


def test_a_changed_artifact_is_refused(make_bundle):
    bundle = make_bundle()
    bundle.path_of(bundle.artifacts[1]).write_bytes(b"changed")
    for path in (bundle.root, bundle.path_of(bundle.artifacts[0]), bundle.path_of(bundle.artifacts[1])):
        with pytest.raises(UsageError, match="onnx-int8 has changed"):
            make_plan([path], ["local://"])


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (("x.bin", b"x"), ("x.tflite", b"x"), ("empty.tflite", b"")):
        (tmp_path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("paths", "devices", "options", "said"),
    [
        (["no/where"], ["local://"], {}, "there is no"),
        (["x.bin"], ["local://"], {}, "neither a bundle nor an artifact"),
        (["empty.tflite"], ["local://"], {}, "is empty"),
        (["x.tflite"], ["local://"], {"recipes": ["tflite-fp32"]}, "picks from a bundle"),
        (["x.tflite", "./x.tflite"], ["local://"], {}, "named twice"),
        (["x.tflite"], ["local://", "local://"], {}, "named twice"),
        (["x.tflite"], [], {}, "no device"),
        ([], ["local://"], {}, "nothing to bench"),
        (["x.tflite"], ["lokal://"], {}, "did you mean 'local'"),
        (["x.tflite"], ["local://"], {"target": "raspbery-pi-5"}, "unknown target"),
        (["x.tflite"], ["local://"], {"runtime": "liter"}, "did you mean 'litert'"),
        (["x.tflite"], ["local://"], {"runtime": "onnxruntime"}, "takes onnx, not tflite"),
        (["x.tflite"], ["local://"], {"runs": 0}, "runs is 0"),
        (["x.tflite"], ["local://"], {"runs": 1.5}, "runs is 1.5"),
        (["x.tflite"], ["local://"], {"warmup": -1}, "warmup is -1"),
        (["x.tflite"], ["local://"], {"threads": True}, "threads is True"),
        (["x.tflite"], ["local://"], {"max_s": 0.0}, "max_s is 0"),
        (["x.tflite"], ["local://"], {"max_s": float("nan")}, "max_s is nan"),
        (["x.tflite"], ["local://"], {"passes": ["latencies"]}, "did you mean 'latency'"),
        (["x.tflite"], ["local://"], {"passes": ["memory"]}, "no latency pass"),
    ],
)
@pytest.mark.usefixtures("in_folder")
def test_what_is_wrong_is_said(paths, devices, options, said):
    with pytest.raises(UsageError) as caught:
        make_plan(paths, devices, **options)
    assert said in str(caught.value)


def test_a_fake_device_computes_nothing(make_bundle):
    plan = make_plan([make_bundle().root], ["fake://"])
    assert {item.runtime for item in plan.items} == {"null"}


def test_a_package_can_not_be_brought_yet(make_bundle):
    bundle = make_bundle()
    path = bundle.path_of(bundle.artifacts[2])
    path.unlink()
    path.mkdir()
    (path / "Manifest.json").write_bytes(b"{}")
    artifacts = (*bundle.artifacts[:2], replace(bundle.artifacts[2], sha256=digest(path)[0]))
    replace(bundle, artifacts=artifacts).save()
    plan = make_plan([bundle.root], ["fake://"])
    assert [(s.recipe, "package" in s.reason) for s in plan.skipped] == [("coreml-fp32", True)]


def test_what_was_asked_for_is_recorded(make_bundle):
    plan = make_plan([make_bundle().root], ["local://"], runs=7, warmup=2, threads=3, max_s=1.5)
    asked = {"runs": 7, "warmup": 2, "threads": 3, "cores": "", "max_s": 1.5, "period_s": 0.0,
             "precision": None, "sustained": False, "allow_fallback": False,
             "passes": ["memory", "latency"]}  # fmt: skip
    assert plan.asked(plan.items[0]) == asked
    assert isinstance(plan, BenchPlan)


def test_every_number_of_threads_on_every_class_of_cores_is_a_run(make_bundle):
    plan = make_plan(
        [make_bundle().root], ["local://"], recipes=["tflite-fp32"], threads=(1, 4), cores=("big", "0-1")
    )
    told = [(item.placement.threads, item.placement.cores) for item in plan.items]
    assert told == [(1, "big"), (1, "0-1"), (4, "big"), (4, "0-1")]
    assert plan.asked(plan.items[2])["threads"] == 4


def test_limits_that_fit_what_is_asked_for(make_bundle):
    root = make_bundle().root
    told = [
        (plan.runs, plan.max_s)
        for plan in (
            make_plan([root], ["local://"]),
            make_plan([root], ["local://"], precision=0.02),
            make_plan([root], ["local://"], sustained=True, max_s=600.0),
            make_plan([root], ["local://"], precision=0.02, runs=500, max_s=5.0),
        )
    ]
    assert told == [(200, 30.0), (1_000_000, 300.0), (1_000_000, 600.0), (500, 5.0)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threads": (1, 1)}, "threads 1 is named twice"),
        ({"threads": ()}, "no number of threads"),
        ({"threads": (2, 0)}, "threads is 0"),
        ({"cores": ("huge",)}, "names no cores"),
        ({"period_s": 31.0}, "period_s is 31"),
        ({"precision": 2.0}, "precision is 2"),
    ],
)
def test_a_manner_of_running_that_is_none_is_refused(make_bundle, changes, said):
    with pytest.raises(UsageError, match=said):
        make_plan([make_bundle().root], ["local://"], **changes)


def test_golden_inputs_are_turned_for_channels_first(make_bundle, tmp_path):
    bundle = make_bundle()
    lite, onnx, _ = bundle.artifacts
    assert not wants_channels_first(bundle, lite)
    assert wants_channels_first(bundle, onnx)
    assert stage(bundle, lite, tmp_path) == bundle.root / "golden/inputs.npy"
    turned = np.load(stage(bundle, onnx, tmp_path))
    assert turned.shape == (4, 3, 8, 8)
    assert turned.flags.c_contiguous
    assert turned[2, 1, 5, 6] == bundle.golden_arrays()[0][2, 5, 6, 1]


def test_golden_inputs_that_do_not_fit(make_bundle):
    bundle = make_bundle(inputs=np.zeros((2, 9, 9, 3), dtype=np.float32))
    with pytest.raises(UsageError, match=r"\(9, 9, 3\) do not fit tflite-fp32"):
        make_plan([bundle.root], ["local://"])
    lite = bundle.artifacts[0]
    with pytest.raises(UsageError, match="takes 2 inputs"):
        wants_channels_first(bundle, replace(lite, inputs=lite.inputs * 2))


def test_golden_inputs_that_can_not_be_read(make_bundle):
    bundle = make_bundle()
    (bundle.root / "golden/inputs.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match="can't be read"):
        wants_channels_first(Bundle.load(bundle.root), bundle.artifacts[0])
