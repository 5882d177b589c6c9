"""`edgekit compare`: stored runs and artifacts that take turns."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.run import ParityReading, Run
from edgekit.store import Store

RECORDED = Path(__file__).parents[1] / "bench" / "explained" / "a72.json"
WRONG = ParityReading(
    max_abs_error=9.0, snr_db=0.0, top1_agreement=0.0, limit=0.1, tolerance="test", ok=False, count=4
)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A store; return what fills it with runs of a recorded one, each as much slower as asked."""
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))
    base = Run.from_json(json.loads(RECORDED.read_text())[0])

    def save(*factors, **other):
        ids = []
        with Store.open(None) as store:
            for factor in factors:
                samples = tuple(round((1_000_000 + n % 7 * 100) * factor) for n in range(200))
                run = replace(base, id=secrets.token_hex(8), samples_ns=samples, **other)
                store.save(run)
                ids.append(run.id)
        return ",".join(ids)

    return save


@pytest.mark.parametrize(
    ("b", "strict", "word", "code"),
    [
        ((1.1, 1.101, 1.099), False, "slower", 3),
        ((1.001, 1.0, 0.999), False, "not slower", 0),
        ((0.8, 1.1, 1.4), False, "no decision", 0),
        ((0.8, 1.1, 1.4), True, "no decision", 3),
    ],
)
def test_stored_runs_are_judged_and_the_exit_code_says_so(call, stored, b, strict, word, code):  # noqa: PLR0917
    a, b = stored(1, 1.001, 0.999), stored(*b)
    got, out, err = call("compare", a, b, "--gate", "5%", "--json", *(["--strict"] if strict else []))
    assert got == code, err
    told = json.loads(out)
    assert (told["schema"], told["decision"], told["gate"]) == (1, word, 0.05)
    assert not told["interleaved"]
    assert told["effect"]["low"] <= told["effect"]["value"] <= told["effect"]["high"]
    assert any("did not take turns" in note for note in told["notes"])


def test_one_run_a_side_decides_nothing_and_says_what_to_do(call, stored):
    code, out, err = call("compare", stored(1), stored(1.2))
    assert code == 0, err
    assert out.startswith("no decision: one run a side")
    assert "within these runs alone: +20.0%" in out


def test_runs_of_other_conditions_are_refused_unless_asked(call, stored):
    a, b = stored(1, 1.001), stored(1, 1.002, device="ssh://other")
    code, _, err = call("compare", a, b)
    assert code == 2
    assert "conditions differ: device" in err
    code, out, err = call("compare", a, b, "--across")
    assert code in {0, 3}, err
    assert "conditions differ: device" in out


def test_invalid_runs_are_never_compared(call, stored):
    code, _, err = call("compare", stored(1, 1.001), stored(1, 1.001, parity=WRONG))
    assert code == 1
    assert "is invalid" in err


def test_exported_runs_are_read(call, stored, tmp_path):
    a, b = stored(1, 1.001, 0.999), stored(1.1, 1.101, 1.099)
    for name, ids in (("a.json", a), ("b.json", b)):
        data = [json.loads(call("runs", "show", id_, "--json")[1])["run"] for id_ in ids.split(",")]
        (tmp_path / name).write_text(json.dumps({"runs": data}))
    assert call("compare", tmp_path / "a.json", tmp_path / "b.json")[0] == 3
    code, _, err = call("compare", tmp_path / "none.json", tmp_path / "b.json")
    assert (code, "holds no exported runs" in err) == (2, True)


@pytest.mark.convert
def test_artifacts_take_turns_on_a_device(call, made, stored, monkeypatch):
    """Two rounds and one run more: then ctrl-C."""
    path = made[0] / "artifacts" / "tflite-fp32.tflite"
    save, runs = Store.save, []

    def save_nine(self, run):
        save(self, run)
        runs.append(run.id)
        if len(runs) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "save", save_nine)
    code, out, err = call("compare", path, path, "--device", "local://", "--runs", 40, "--json")
    assert code == 130, err
    told = json.loads(out)
    assert (told["interleaved"], told["interrupted"], told["decision"]) == (True, True, "no decision")
    counted = {*told["a"], *told["b"]}
    assert len(counted) == 4 * told["rounds"]
    assert any("cut short" in note and runs[8] in note for note in told["notes"])
    with Store.open(None) as store:
        order = [run.id for run in reversed(store.query())]
    for n in range(0, len(order), 4):  # a busy machine may cost a round, which is made again
        block = order[n : n + 4]
        assert len(counted.intersection(block)) in {0, 4}
        assert counted.isdisjoint(block) or [id_ in told["b"] for id_ in block] in (
            [False, True, True, False],
            [True, False, False, True],
        )


PERF_TEST = """#!PYTHON
import sys
print("Setting intra_op_num_threads to 1")
with open(sys.argv[-1], "w") as file:
    for n in range(153):
        file.write("latency,%g,158171136,68,%d\\n" % (0.01 + 1e-5 * (n * 37 % 11), n))
"""


@pytest.mark.convert
def test_a_tool_of_ones_own_runs_both_sides(call, made, stored, tmp_path):
    """A stand-in that prints what onnxruntime_perf_test prints, the same for both."""
    tool = tmp_path / "perf_test"
    tool.write_text(PERF_TEST.replace("PYTHON", sys.executable))
    tool.chmod(0o755)
    path = made[0] / "artifacts" / "onnx-fp32.onnx"
    code, out, err = call(
        "compare", path, path, "--device", "local://", "--runtime", "onnxruntime_perf_test",
        "--runtime-binary", tool, "--allow-fallback", "--runs", 150, "--rounds", 7, "--gate", "1%", "--json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert (told["decision"], told["rounds"]) == ("not slower", 7)
    assert told["effect"]["value"] == 0
    with Store.open(None) as store:
        runs = store.query()
    assert {run.runtime.name for run in runs} == {"onnxruntime_perf_test"}
    assert {run.plan["allow_fallback"] for run in runs} == {True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime", "onnxruntime==0.1", "--device", "local://"], "0.1"),
        (["--runtime", "benchmark_model", "--runtime-binary", "nowhere", "--device", "local://"], "nowhere"),
        (["--governor", "performance"], "--governor says how artifacts run, and stored runs have run"),
        (["--runtime-binary", "mine"], "--device D"),
        (["--cooldown", "45"], "--cooldown says"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_runs(call, stored, tmp_path, words, said):
    (tmp_path / "net.tflite").write_bytes(b"none of it is read")
    code, _, err = call("compare", tmp_path / "net.tflite", tmp_path / "net.tflite", *words)
    assert code == 2, err
    assert said in err
    with Store.open(None) as store:
        assert not store.query()


def test_ctrl_c_keeps_the_runs_and_says_so(call, tmp_path, monkeypatch):
    """A process of its own, interrupted within the second round: whatever that run is at."""
    (tmp_path / "net.tflite").write_bytes(b"whatever: the null runtime reads none of it")
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "runs.sqlite"))
    with Store.open(None):
        pass  # two processes should not both make it
    argv = ["net.tflite", "net.tflite", "--runtime", "null", "--device", "local://", "--runs", "50", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit.cli.main", "compare", *argv, "--gate", "0.001%", "--rounds", "500"],
        cwd=tmp_path, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(json.loads(call("runs", "list", "--json")[1]).get("runs", ())) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert (told["decision"], told["interrupted"]) == ("no decision", True)
    assert told["why"] == "interrupted; the runs made are kept"
    assert told["rounds"] >= 1 or any("a round was lost" in note for note in told["notes"])
    assert len(told["a"]) == len(told["b"]) == 2 * told["rounds"]
    with Store.open(None) as kept:
        assert {*told["a"], *told["b"]} <= {run.id for run in kept.query()}
    assert not (tmp_path / "cache" / "edgekit" / "device" / "lease").exists()
