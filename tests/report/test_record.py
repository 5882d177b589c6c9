"""Conditions and provenance as text: what the device told, and nothing where it told nothing."""

import pytest

from edgekit.report import record


def conditions(make, *told):
    run, _ = make(conditions=told)
    return dict(zip(record.CONDITIONS, record.conditions_of(run), strict=True))


def test_conditions_run_from_before_to_after(make):
    run, _ = make()
    found = dict(zip(record.CONDITIONS, record.conditions_of(run), strict=True))
    assert found["load"] == "0.12 → 2.9 → 3.1"
    assert found["clock"] == "600 MHz → 1.80 GHz → 1.80 GHz"
    assert found["governor"] == "ondemand"
    assert found["hottest zone"] == "44.3 C → 52.1 C → 53.7 C"
    assert found["free memory"] == "3.0 GiB throughout"
    assert found["throttled"] == "not told"


def test_what_was_not_told_is_not_made_up(make):
    assert set(conditions(make).values()) == {"not told"}
    found = conditions(make, {"when": "before", "load1": 0.0}, {"when": "after", "load1": 1.5})
    assert found.pop("load") == "before 0, after 1.5"
    assert set(found.values()) == {"not told"}


def test_during_the_loop_the_worst_is_shown(make):
    during = [
        {
            "when": "during",
            "temperatures": {"a": t, "b": 20},
            "clusters": [{"cur_khz": f}, {"cur_khz": 300_000}],
        }
        for t, f in ((61.0, 1_400_000), (70.5, 900_000))
    ]
    found = conditions(make, *during)
    assert found["hottest zone"] == "during 70.5 C"
    assert found["clock"] == "during 900 MHz"


def test_the_memory_pass_is_left_out(make):
    told = [
        {"when": "before", "load1": 9.0, "pass": "memory"},
        {"when": "before", "load1": 0.1, "pass": "latency"},
    ]
    assert conditions(make, *told)["load"] == "before 0.1"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((None, None), "no"),
        ((None, "throttled=0x4"), "no → throttled=0x4"),
        (("throttled=0x50000", "throttled=0x50000"), "throttled=0x50000"),
    ],
)
def test_throttling_is_no_only_where_it_was_read(make, flags, text):
    assert conditions(make, *({"when": "during", "throttled": flag} for flag in flags))["throttled"] == text


def test_two_clusters_with_two_governors(make):
    clusters = [{"governor": "schedutil"}, {"governor": "performance"}, {}]
    assert conditions(make, {"when": "before", "clusters": clusters})["governor"] == "performance, schedutil"


def test_provenance_names_what_ran_and_where(make):
    run, _ = make(facts={"machine": "aarch64", "cores": [1, 2]})
    found = dict(record.provenance_of(run))
    assert found["sha256"] == run.artifact.sha256
    assert found["device's own facts"] == "cores: [1, 2]; machine: aarch64"
    assert found["source"] == "mobilenet_v2, bundle mnv2"
    assert found["timed"] == "10 warm-up and 200 timed invocations"
    assert found["outputs"].startswith("four steps")
    assert found["versions"] == "edgekit: 0.1.0; protocol: 1"
    assert found["size"].endswith(f"({run.artifact.size_bytes} bytes)")


def test_provenance_of_a_bare_file_tells_no_folder_of_the_host(make):
    from dataclasses import replace

    run, _ = make(parity=None, facts={}, target="")
    run = replace(run, artifact=replace(run.artifact, source="", bundle="/home/someone/secret/mnv2"))
    found = dict(record.provenance_of(run))
    assert found["source"] == "not told, bundle mnv2"
    assert found["outputs"] == "not checked"
    assert found["device's own facts"] == "not told"
    assert found["device"].endswith("target not recognized")


def test_provenance_is_cleaned(make):
    run, _ = make(facts={"model": "\x1b[2J"})
    assert dict(record.provenance_of(run))["device's own facts"] == "model: \ufffd[2J"


def test_the_period_is_one_time_or_two(make):
    runs = [make(index=i)[0] for i in (7, 2)]
    assert record.period_of(runs) == "2026-03-02 10:02 to 2026-03-02 10:07 UTC"
    assert record.period_of(runs[:1]) == "2026-03-02 10:07 UTC"
