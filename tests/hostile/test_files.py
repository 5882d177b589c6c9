"""Files of others: bundles, exported runs, targets, the shape of JSON itself. Read as data, or refused."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import strategies as st

from edgekit.artifact import Artifact, TensorSpec
from edgekit.bench.compare import compare_runs
from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.bundle import MANIFEST, Bundle, Golden, Preprocessing, SourceRecord
from edgekit.errors import ResultError, UsageError
from edgekit.json_types import fits, read_json
from edgekit.report.table import print_table
from edgekit.store import Store
from edgekit.store.exported import MAX_BYTES, read_runs
from edgekit.targets import load_target
from edgekit.targets.table import read_toml
from edgekit.testing.hostile import SCALARS, VALUES, fuzzed, spoilt, spoilt_json, understood_or_refused
from edgekit.testing.runs import example_run, example_samples

SPEC = TensorSpec(name="in", shape=(1, 8, 8, 3), dtype="float32", layout="NHWC")
BUNDLE = Bundle(
    root=Path(),
    source=SourceRecord(name="net", kind="keras", sha256="ab" * 32, parameters=7, options={"seed": "1"}),
    artifacts=(
        Artifact(recipe="onnx-fp32", format="onnx", precision="fp32", path="artifacts/onnx-fp32.onnx",
                 sha256="cd" * 32, size_bytes=9, inputs=(SPEC,), outputs=(SPEC,)),
    ),
    golden=Golden(inputs="golden/inputs.npy", outputs="golden/outputs.npy", inputs_sha256="1" * 64,
                  outputs_sha256="2" * 64, count=1, origin="seeded noise"),
    preprocessing=Preprocessing(mean=(1.0, 2.0, 3.0)),
    labels="labels.txt",
    provenance={"edgekit": "0"},
)  # fmt: skip
RUNS = [
    json.loads(json.dumps(example_run(**changes).to_json()))
    for changes in ({}, {"samples_ns": example_samples(30), "memory": (), "parity": None, "load_ns": None})
]


@pytest.fixture
def manifest(tmp_path):
    """The manifest of a bundle, as it is written."""
    Bundle.save(__import__("dataclasses").replace(BUNDLE, root=tmp_path))
    return json.loads((tmp_path / MANIFEST).read_bytes())


def rewritten(folder, data):
    (folder / MANIFEST).write_bytes(data)
    return understood_or_refused(Bundle.load, folder)


# --- bundles ----------------------------------------------------------------------------------------------
def test_the_bundle_that_is_spoilt_below_is_a_good_one(tmp_path, manifest):
    assert rewritten(tmp_path, json.dumps(manifest).encode()).artifacts == BUNDLE.artifacts


@fuzzed(st.data(), examples=150)
def test_a_manifest_is_understood_or_refused(tmp_path, manifest, data):
    changed = data.draw(spoilt_json([manifest]))
    bundle = rewritten(tmp_path, json.dumps(changed).encode())
    if bundle is not None:
        named = [bundle.golden.inputs, bundle.golden.outputs, *(a.path for a in bundle.artifacts)]
        assert all((tmp_path / name).resolve().is_relative_to(tmp_path.resolve()) for name in named)
        assert all(math.isfinite(v) for v in (*bundle.preprocessing.mean, bundle.preprocessing.scale)
                   ) if bundle.preprocessing else True  # fmt: skip
        understood_or_refused(bundle.check)
        understood_or_refused(bundle.label_names)


@fuzzed(st.data())
def test_a_manifests_bytes_are_understood_or_refused(tmp_path, manifest, data):
    rewritten(tmp_path, data.draw(spoilt([json.dumps(manifest).encode()])))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\0b", "x" * 5000])
@pytest.mark.parametrize("key", ["labels", "golden", "artifacts", "provenance"])
def test_a_bundle_names_nothing_outside_of_itself(tmp_path, manifest, key, path):
    if key == "labels":
        manifest["labels"] = path
    elif key == "golden":
        manifest["golden"]["inputs"] = path
    elif key == "artifacts":
        manifest["artifacts"][0]["path"] = path
    else:
        manifest["provenance"]["calibration_record"] = path
    bundle = rewritten(tmp_path, json.dumps(manifest).encode())
    if bundle is not None:
        with pytest.raises(UsageError):
            bundle.check()


def test_a_bundle_names_nothing_outside_of_itself_by_a_link(tmp_path, manifest):
    (tmp_path / "golden").symlink_to("/etc")
    manifest["golden"]["inputs"] = "golden/passwd"
    assert rewritten(tmp_path, json.dumps(manifest).encode()) is None


# --- runs -------------------------------------------------------------------------------------------------
def used(run):
    """Everything that a run which was read goes through."""
    summarize(run)
    compare_runs([run], [example_run()], gate=0.05, across=True)


def test_the_runs_that_are_spoilt_below_are_good_ones(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(run) + "\n" for run in RUNS))
    assert [run.to_json() for run in map(Run.from_json, RUNS)] == [run.to_json() for run in read_runs(path)]


@fuzzed(st.data(), examples=150)
def test_an_exported_run_is_understood_or_refused(tmp_path, data):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(data.draw(spoilt_json(RUNS))))
    for run in understood_or_refused(read_runs, path) or []:
        understood_or_refused(used, run)


@pytest.mark.parametrize("name", ["runs.json", "runs.jsonl"])
@fuzzed(spoilt([json.dumps(RUNS[1]).encode(), json.dumps({"runs": RUNS[1:]}).encode()]))
def test_an_exports_bytes_are_understood_or_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    understood_or_refused(read_runs, path)


@pytest.mark.parametrize(
    "change",
    [
        {"samples_ns": [1.5]}, {"samples_ns": [True]}, {"samples_ns": "12"}, {"samples_ns": [1 << 70]},
        {"load_ns": "3"}, {"facts": []}, {"facts": {"a": [{"b": float("inf")}]}}, {"plan": None},
        {"memory": {}}, {"memory": [7]}, {"parity": {"ok": 1}}, {"conditions": [3]}, {"runtime": None},
        {"power": {"mean": float("nan")}}, {"artifact": {}}, {"schema": 99}, {"schema": None}, {"id": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_of_other_types_is_refused(tmp_path, change):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({**RUNS[0], **change}))
    with pytest.raises(UsageError):
        read_runs(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "runs.jsonl"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UsageError, match="bytes"):
        read_runs(path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\0" * 200, b"x" * 5000])
def test_a_store_of_garbage_is_refused_or_made_anew(tmp_path, content):
    path = tmp_path / "runs.sqlite"
    path.write_bytes(content)
    store = understood_or_refused(Store.open, path)
    if store is not None:
        with store:
            assert understood_or_refused(store.query) in ([], None)


def test_a_schema_that_is_no_text_tells_it(tmp_path):
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        store.save(example_run())
    whole = path.read_bytes()
    place = whole.index(b"table") + len(b"table")  # where the schema holds the name of one
    path.write_bytes(whole[:place] + b"\x80" + whole[place + 1 :])
    with pytest.raises(ResultError, match="is damaged"), Store.open(path) as store:
        store.query()


@fuzzed(st.data(), examples=40)
def test_a_damaged_store_tells_it(tmp_path, data):
    path = tmp_path / "runs.sqlite"
    if not path.exists():
        with Store.open(path) as store:
            store.save(example_run())
    whole = path.read_bytes()
    try:
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(whole) - 1))
            path.write_bytes(
                whole[:start] + data.draw(st.binary(min_size=1, max_size=64)) + whole[start + 1 :]
            )
        store = understood_or_refused(Store.open, path)
        if store is not None:
            with store:
                understood_or_refused(store.query)
    finally:
        for left in tmp_path.iterdir():
            left.unlink()
        path.write_bytes(whole)


# --- targets ----------------------------------------------------------------------------------------------
TARGETS = [
    path.read_bytes() for path in sorted((Path(load_target.__code__.co_filename).parent).glob("*.toml"))
]


@fuzzed(spoilt(TARGETS), examples=100)
def test_a_targets_file_is_understood_or_refused(tmp_path, content):
    path = tmp_path / "board.toml"
    path.write_bytes(content)
    target = understood_or_refused(load_target, str(path))
    if target is not None:
        assert target.name == "board"
        target.fits({"model": "x" * 50, "os": "linux", "abi": "aarch64"})


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a." * 3000 + "b = 1", "a = 1\x00", "a = nan"])
def test_toml_that_hurts_is_refused(tmp_path, text):
    path = tmp_path / "board.toml"
    path.write_text(text)
    assert understood_or_refused(load_target, str(path)) is None


# --- JSON itself ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "NaN", "[Infinity]", "9" * 5000, "", "\ud800"]
)
def test_json_that_hurts_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("str", ["", "x"], [None, 1, b""]),
        ("int", [0, -5, (1 << 64) - 1], [True, 1.0, 1 << 64, "1"]),
        ("float", [0, 1.5, -1e300], [math.nan, math.inf, 10**400, True, "1"]),
        ("bool", [True], [1, None]),
        ("int | None", [None, 3], ["", 1.5]),
        ("tuple[int, ...]", [[], [1], (1, 2)], [[1.5], 3, None, "ab", {}]),
        ("tuple[str, float]", [["a", 1]], [["a"], ["a", "b"], [1, "a"]]),
        ("tuple[tuple[str, int | None], ...]", [[["a", None]], []], [["a"], [["a", 1.5]]]),
        ("Mapping[str, str]", [{}, {"a": "b"}], [{"a": 1}, [], {1: "a"}]),
        ("Mapping[str, tuple[str, ...]]", [{"a": ["b"]}], [{"a": "b"}, {"a": [1]}]),
        ("Mapping[str, Any]", [{"a": [{"b": None}]}], [{"a": [math.nan]}, {"a": {"b": 1 << 70}}]),
        ("Golden", [{}, 3, [1.5]], [[math.inf], {"a": [math.nan]}]),
    ],
)
def test_what_fits_an_annotation(kind, good, bad):
    assert all(fits(kind, value) for value in good)
    assert not any(fits(kind, value) for value in bad)


@fuzzed(
    st.sampled_from(["str", "int", "float", "tuple[float, ...]", "Mapping[str, Any]", "Path | None"]), VALUES
)
def test_whatever_fits_can_be_written_as_json(kind, value):
    if fits(kind, value):
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@fuzzed(st.dictionaries(st.text(max_size=9), SCALARS, max_size=5))
def test_a_tables_words_are_only_shown(row):
    """A device's words are no markup to the table that prints them, and break no row."""
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    print_table(console, "title [bold]", ("fact", "value"), [(k, str(v)) for k, v in row.items()], notes=[])
    assert "title [bold]" in console.file.getvalue()


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError):
        read_toml(tmp_path)
