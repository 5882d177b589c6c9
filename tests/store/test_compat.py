"""A run written today can be read for good: the text below is never changed, only added to."""

import json

import pytest

from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.errors import UnknownNameError, UsageError
from edgekit.store import Store

SCHEMA_1 = """{"artifact":{"bundle":"/home/a/b","format":"tflite","precision":"int8","recipe":"tflite-int8",
"sha256":"ab","size_bytes":4194304,"source":"mobilenet_v2"},"conditions":[{"load1":0.1,"pass":"latency",
"when":"before","cpus_allowed":"0-3"}],"device":"ssh://pi@10.0.0.7","ended":"done","facts":{"emulated":""},
"first_ns":15000000,"id":"0123456789abcdef","load_ns":3000000,"memory":[{"file_bytes":0,"phase":"baseline",
"private_dirty_bytes":9,"pss_bytes":20,"swap_bytes":0},{"file_bytes":0,"phase":"peak","private_dirty_bytes":18,
"pss_bytes":31,"swap_bytes":1}],"parity":{"blind":false,"count":8,"limit":0.02,"max_abs_error":0.004,"ok":true,
"rms_error":0.001,"rms_limit":0.01,"snr_db":31.0,"tolerance":"t","top1_agreement":1.0},"plan":{"max_s":30.0,
"passes":["memory","latency"],"runs":6,"threads":1,"warmup":1},"power":{"unavailable":"no sensor"},
"runtime":{"name":"litert","threads":1,"version":"2.3.0"},"samples_ns":[10,11,12,13,14,15],"schema":1,
"started_at":"2026-11-22T18:00:00.000+00:00","target":"raspberry-pi-5","versions":{"edgekit":"0"},
"warmup_ns":[20]}"""


def read():
    return Run.from_json(json.loads(SCHEMA_1))


def test_schema_1_is_read(tmp_path):
    run = read()
    assert run.samples_ns == (10, 11, 12, 13, 14, 15)
    assert run.artifact.recipe == "tflite-int8"
    assert run.memory[1].pss_bytes == 31
    assert run.parity.ok
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.save(run)
        assert json.loads(next(store.export(["01234567"]))) == json.loads(SCHEMA_1)


def test_schema_1_is_summarized_as_it_was():
    summary = summarize(read())
    assert summary.verdict == "suspect"
    assert [doubt.code for doubt in summary.doubts] == ["few-samples", "spread"]
    assert summary.latency.p50_ms.value == pytest.approx(12.5e-6)
    assert summary.memory.peak_over_baseline_bytes == 12


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'samples_ns'"):
        Run.from_json({**json.loads(SCHEMA_1), "sample_ns": []})


@pytest.mark.parametrize("key", ["id", "samples_ns", "artifact", "plan"])
def test_a_missing_key_is_named(key):
    data = json.loads(SCHEMA_1)
    del data[key]
    with pytest.raises((UsageError, KeyError), match=key):
        Run.from_json(data)


@pytest.mark.parametrize("part", ["artifact", "runtime", "parity"])
def test_a_part_that_is_no_table_is_refused(part):
    with pytest.raises(UsageError, match="should be a table"):
        Run.from_json({**json.loads(SCHEMA_1), part: "x"})
