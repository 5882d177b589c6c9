"""`edgekit explain`: from stored runs and from a bundle, for people and for programs."""

import json
from pathlib import Path

import pytest

from edgekit.bench.run import Run
from edgekit.store import Store

RECORDED = Path(__file__).parents[1] / "bench" / "explained"


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A store with recorded runs; return what reads the ids of a pair."""
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))
    monkeypatch.setenv("COLUMNS", "120")

    def save(name):
        runs = [Run.from_json(data) for data in json.loads((RECORDED / f"{name}.json").read_text())]
        with Store.open(None) as store:
            for run in runs:
                store.save(run)
        return [run.id for run in runs]

    return save


def test_the_answer_is_one_line_with_its_evidence_and_the_operators(call, stored):
    first, second = stored("moving")
    code, out, err = call("explain", first[:8], second[:8])
    assert code == 0, err
    line = " ".join(out.split())
    assert line.startswith("int8 is 1.")
    assert "times slower than float" in line
    assert "the network moves memory more than it multiplies" in line
    assert "; try: fuse or drop elementwise and depthwise operators" in line
    assert "  - 100% of float's time: fewer than 4 multiplications a byte" in out
    rows = [row for row in out.splitlines() if "deep" in row and "XNNPACK" in row]
    assert len(rows) == 4
    assert all("float32" in row and "int8" in row for row in rows)
    assert "A: Intel(R) Xeon(R) Processor: int8 dot product, i8mm, fp16; seen on CPU" in out


def test_the_document_is_the_contract(call, stored):
    first, second = stored("a72")
    code, out, err = call("explain", first, second, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["schema"] == 1
    assert told["cause"]["code"] == "no-dot-product"
    assert set(told["cause"]) == {"code", "line", "evidence", "hint", "share"}
    assert (told["a"]["kind"], told["b"]["kind"]) == ("float", "int8")
    assert told["b"]["cpu"] == {"names": ["Cortex-A72"], "int8_dot": False, "i8mm": False, "fp16": False}
    assert told["comparable"]
    assert not told["swapped"]
    both = [row for row in told["operators"] if row["a"] and row["b"] and row["ratio"]]
    assert {"order", "kind", "op", "layer", "where", "precision", "ms"} == set(both[0]["a"])
    assert both[0]["ratio"] == pytest.approx(both[0]["b"]["ms"] / both[0]["a"]["ms"])
    assert told["notes"][0] == "A: emulated: qemu-user"


def test_int8_may_be_named_first(call, stored):
    first, second = stored("moving")
    told = json.loads(call("explain", second, first, "--json")[1])
    assert told["swapped"]
    assert told["a"]["run"] == first


def test_all_operators_are_shown_when_asked(call, stored):
    first, second = stored("moving")
    assert call("explain", first, second, "--all")[1].count("XNNPACK") == 13


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one"], "explain takes two runs"),
        (["one", "two", "three"], "explain takes two runs"),
        (["none", "either"], "none"),
        (["mine", "yours", "--device", "local://"], "one bundle, not 2"),
        (["mine", "--device", "local://"], "explain takes two recipes"),
        (["mine", "--device", "local://", "--recipes", "tflite-fp32"], "explain takes two recipes"),
    ],
)
def test_what_can_not_be_explained_is_one_line(call, stored, words, said):
    code, out, err = call("explain", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.convert
@pytest.mark.parametrize("recipes", ["tflite-fp32,tflite-int8"])
def test_a_bundles_artifacts_are_benched_and_explained(call, made, stored, recipes):
    code, out, err = call(
        "explain", made[0], "--device", "local://", "--recipes", recipes, "--runs", 80, "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert [told[side]["recipe"] for side in "ab"] == recipes.split(",")
    assert told["a"]["operators_ms"] > 0
    layers = [(row["a"]["layer"], row["b"]["layer"]) for row in told["operators"] if row["a"] and row["b"]]
    named = [(a, b) for a, b in layers if a and b]
    assert len(named) >= 20
    assert sum(a == b for a, b in named) >= 0.9 * len(named)
    with Store.open(None) as store:
        assert len(store.query()) == 2


@pytest.mark.convert
def test_a_profiled_bench_tells_where_its_operators_ran(call, made, stored):
    stored("moving")
    code, out, err = call(
        "bench", made[0], "-r", "tflite-int8", "--device", "local://", "--runs", 30, "--no-power",
        "--profile", "--allow-fallback", "--json",
    )  # fmt: skip
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    assert run["plan"]["allow_fallback"]
    assert run["plan"]["passes"] == ["memory", "latency", "profile"]
    assert run["delegation"]["asked"] == "XNNPACK"
    assert run["delegation"]["counts"]["XNNPACK"] > 20
    assert not run["delegation"]["fell_back"]
    with Store.open(None) as store:
        kinds = {event["e"] for event in store.get(run["id"]).ops}
    assert kinds == {"nodes", "profiler", "cores", "op", "graph"}
