"""What is begun is written down; what is left is found again, by its own host alone, and kept once."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench import execute as engine
from edgekit.bench.execute import execute
from edgekit.bench.journal import Journal, default_folder
from edgekit.bench.plan import make_plan
from edgekit.bench.recover import recover_device
from edgekit.errors import DeviceLostError, DeviceTimeoutError, ResultError, StableDeviceError, UsageError
from edgekit.runners import lease as lease_module

HELLO = {"e": "hello", "pass": "latency", "t": 1, "protocol": 2, "pid": 7, "program": "python",
         "runtime": "null", "version": "1", "threads": 1}  # fmt: skip
FIRST = {"e": "first", "pass": "latency", "t": 2, "ns": 9}
SAMPLES = {"e": "samples", "pass": "latency", "t": 3, "ns": [1, 2, 3]}
END = {"e": "end", "pass": "latency", "t": 4, "reason": "done", "count": 3}


@pytest.fixture
def journal(store, tmp_path):
    return Journal(store, tmp_path / "begun")


@pytest.fixture
def header(make_bundle):
    """What is known of a run before it starts, as the engine makes it."""
    plan = make_plan([make_bundle("onnx-int8").root], ["local://"], runtime="null", runs=100)
    (item,) = plan.items
    return engine.Header(
        id="0123456789abcdef",
        started_at="2026-01-31T12:00:00.000+00:00",
        target="",
        facts={"machine": "x86_64"},
        item=item,
        plan=plan.asked(item),
        power={},
        own_load1=0.5,
    )


def begun_by_the_dead(journal, header, monkeypatch):
    """Write a run down as one that a process began which is no more."""
    gone = subprocess.Popen(["true"])
    began = lease_module._began(gone.pid)
    gone.wait()
    who = f"me@here, process {gone.pid} [{lease_module._boot()} {began}]"
    with monkeypatch.context() as patch:
        patch.setattr("edgekit.bench.journal.host", lambda: who)
        journal.begin(header, ("memory", "latency"))


@pytest.fixture
def begun(journal, header, monkeypatch):
    """The journal of a host whose process died in a run."""
    begun_by_the_dead(journal, header, monkeypatch)
    return journal


def left(transport, header, *lines, name="latency"):
    """Put a spool on the device; return its run's folder."""
    folder = Path(transport.root()) / "runs" / header.id
    folder.mkdir(parents=True, exist_ok=True)
    told = [x if isinstance(x, bytes) else json.dumps({**x, "pass": name}).encode() + b"\n" for x in lines]
    (folder / f"{name}.jsonl").write_bytes(b"".join(told))
    return folder


def hello(header):
    return {**HELLO, "run": header.id}


# --- the journal ------------------------------------------------------------------------------------------
def test_what_is_begun_is_all_there_again(journal, header):
    journal.begin(header, ("memory", "latency"))
    journal.settle(header.id, DeviceLostError("local://", "the link is gone"))
    (entry,) = journal.left("local://")
    again = entry.header()
    assert entry.passes == ("memory", "latency")
    assert entry.reason == "the link is gone"
    assert again.item == header.item
    assert (again.id, again.started_at, again.facts, again.plan, again.own_load1) == (
        header.id, header.started_at, header.facts, header.plan, header.own_load1,
    )  # fmt: skip


def test_a_run_that_goes_on_is_nobody_else_s(journal, header):
    journal.begin(header, ("latency",))
    assert journal.left("local://") == []


@pytest.mark.parametrize("trouble", [None, StableDeviceError("local://", "it crashed")])
def test_a_run_that_was_kept_is_forgotten(journal, header, trouble, tmp_path):
    journal.begin(header, ("latency",))
    journal.settle(header.id, trouble)
    journal.settle(header.id, trouble)
    journal.settle(header.id, DeviceLostError("local://", "gone"))
    assert list((tmp_path / "begun").iterdir()) == []


def test_each_store_and_each_device_has_its_own(begun, header, tmp_path, store):
    assert [entry.id for entry in begun.left("local://")] == [header.id]
    assert begun.left("ssh://board") == []
    begun.store = replace_url(store)
    assert begun.left("local://") == []


def replace_url(store):
    """Return a store that says it is elsewhere."""

    class Elsewhere:
        url = "elsewhere"
        save, query = store.save, store.query

    return Elsewhere()


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"schema": 1, "id": 7}'])
def test_a_damaged_entry_is_told(journal, header, tmp_path, text):
    journal.begin(header, ("latency",))
    (tmp_path / "begun" / f"{header.id}.json").write_text(text)
    with pytest.raises(ResultError, match=r"which tells of a run that was begun, can't be read"):
        journal.left("local://")


def test_an_entry_of_a_later_edgekit_is_told(journal, header, tmp_path):
    journal.begin(header, ("latency",))
    path = tmp_path / "begun" / f"{header.id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 9}))
    with pytest.raises(ResultError, match="has schema 9, this EdgeKit reads 1"):
        journal.left("local://")


def test_no_place_to_write_down_is_told_before_the_run(store, header, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be written: File exists: .*XDG_DATA_HOME"):
        Journal(store, tmp_path / "file").begin(header, ("latency",))


def test_it_lies_beside_the_user_s_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "edgekit" / "begun"


def test_a_bundle_that_is_no_more_leaves_the_run_unproven(begun, header):
    (entry,) = begun.left("local://")
    work = entry.header().item.work
    assert work.artifact == header.item.work.artifact
    manifest = header.item.work.bundle.root / "bundle.json"
    manifest.unlink()
    work = entry.header().item.work
    assert (work.bundle, work.artifact, work.ref) == (None, None, header.item.work.ref)


# --- what lies on the device ------------------------------------------------------------------------------
def test_what_a_dead_host_left_is_kept_once(device, begun, header, store):
    folder = left(device, header, hello(header), FIRST, SAMPLES, b'{"e": "samp')
    (found,) = recover_device(device, begun)
    assert (found.id, found.device) == (header.id, "local://")
    assert found.note == f"3 samples, kept as {header.id}: the host died"
    run = store.get(header.id)
    assert (run.samples_ns, run.first_ns, run.ended) == ((1, 2, 3), 9, "the host died")
    assert run.facts == header.facts
    assert run.power == {"unavailable": "not read: the host died"}
    assert not folder.exists()
    assert recover_device(device, begun) == []
    assert len(store.query()) == 1


def test_a_whole_run_is_no_whole_run_when_nobody_watched_it(device, begun, header, store):
    left(device, header, hello(header), FIRST, SAMPLES, END)
    recover_device(device, begun)
    assert store.get(header.id).ended == "the host died"


def test_what_was_interrupted_midway_keeps_nothing_twice(device, begun, header, monkeypatch, store):
    left(device, header, hello(header), FIRST, SAMPLES)
    with monkeypatch.context() as patch:
        patch.setattr(begun, "end", lambda _: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            recover_device(device, begun)
    left(device, header, hello(header), FIRST, SAMPLES)
    (found,) = recover_device(device, begun)
    assert (found.run, found.note) == (None, "all that it told was kept already")
    assert [run.id for run in store.query()] == [header.id]


def test_more_of_what_was_kept_already_is_kept_beside_it(device, begun, header, store):
    left(device, header, hello(header), FIRST, SAMPLES)
    recover_device(device, begun)
    begun.begin(header, ("latency",))
    begun.settle(header.id, DeviceLostError("local://", "the link is gone"))
    left(device, header, hello(header), FIRST, SAMPLES, SAMPLES)
    (found,) = recover_device(device, begun)
    assert found.run.id == f"{header.id}-more"
    assert {run.id: (len(run.samples_ns), run.ended) for run in store.query()} == {
        header.id: (3, "the host died"),
        f"{header.id}-more": (6, "the link is gone"),
    }


@pytest.mark.parametrize(
    "line", [b"\x00garbage\n", b'{"e": "samples", "pass": "latency", "t": 3, "ns": "many"}\n', b"[1]\n"]
)
def test_a_foreign_line_ends_what_is_believed(device, begun, header, store, line):
    folder = left(device, header, hello(header), FIRST, SAMPLES, line, SAMPLES)
    recover_device(device, begun)
    run = store.get(header.id)
    assert run.samples_ns == (1, 2, 3)
    assert run.ended.startswith("the host died; the device told something that is no line")
    assert folder.exists()


def test_another_run_s_spool_is_not_believed(device, begun, header, store):
    left(device, header, {**hello(header), "run": "another-run"}, FIRST, SAMPLES)
    (found,) = recover_device(device, begun)
    assert (found.run, found.note) == (None, "it had finished nothing")
    assert store.query() == []


def test_more_samples_than_were_asked_for_are_not_believed(device, begun, header, store):
    left(device, header, hello(header), FIRST, *[{**SAMPLES, "ns": [1] * 60}] * 3)
    recover_device(device, begun)
    assert len(store.get(header.id).samples_ns) == 60


def test_a_spool_without_an_end_is_left_at_its_limit(device, begun, header, monkeypatch, store):
    monkeypatch.setattr("edgekit.runners.follow.MAX_SPOOL_BYTES", 100)
    left(device, header, hello(header), FIRST, SAMPLES)
    (found,) = recover_device(device, begun)
    assert (found.run, store.query()) == (None, [])


def test_what_nobody_here_began_is_not_looked_for(device, journal, header, store):
    folder = left(device, header, hello(header), FIRST, SAMPLES)
    assert recover_device(device, journal) == []
    assert store.query() == []
    assert folder.exists()


def test_a_device_that_was_cleaned_is_told(device, begun):
    (found,) = recover_device(device, begun)
    assert (found.run, found.note) == (None, "nothing of it lies on the device any more")
    assert begun.left("local://") == []


# --- waiting ----------------------------------------------------------------------------------------------
@pytest.fixture
def goes_on(device, header):
    """A pass that goes on until a file appears, and tells its samples only then."""
    folder = left(device, header, hello(header), FIRST)
    (folder / "chunk").write_text(json.dumps(SAMPLES) + "\n")
    script = (
        'echo $$ >"$0.pid"; until [ -e "$0.go" ]; do sleep 0.05; done; cat "$1" >>"$0.jsonl"; echo 0 >"$0.rc"'
    )
    argv = ["sh", "-c", script, folder / "latency", folder / "chunk", folder / "latency.json"]
    process = subprocess.Popen(argv, start_new_session=True)
    while not (folder / "latency.pid").exists() or not (folder / "latency.pid").read_text():
        assert process.poll() is None
    yield folder
    process.kill()
    process.wait()


def test_a_run_that_goes_on_is_waited_for(device, begun, header, store, goes_on):
    looks = []

    def on_look(name):
        looks.append(name)
        (goes_on / "latency.go").touch()

    recover_device(device, begun, wait_s=60.0, on_look=on_look)
    assert set(looks) == {"latency"}
    assert store.get(header.id).samples_ns == (1, 2, 3)


def test_one_that_goes_on_for_too_long_is_left_alone(device, begun, goes_on):
    with pytest.raises(DeviceTimeoutError, match=r"^local://: the latency pass of the run 0123456789abcdef"):
        recover_device(device, begun, wait_s=0.001)
    os.kill(int((goes_on / "latency.pid").read_text()), 0)
    assert len(begun.left("local://")) == 1


@pytest.mark.usefixtures("goes_on")
def test_without_waiting_it_is_ended(device, begun, header, store):
    recover_device(device, begun)
    assert store.get(header.id).samples_ns == ()


# --- the engine -------------------------------------------------------------------------------------------
def test_a_bench_keeps_first_what_an_earlier_one_left(device, begun, header, store, make_bundle):
    left(device, header, hello(header), FIRST, SAMPLES)
    plan = replace(make_plan(
        [make_bundle("onnx-int8", name="b").root], ["local://"], runtime="null", runs=5, warmup=1
    ), passes=("latency",))  # fmt: skip
    result = execute(plan, store, journal=begun)
    assert result.failed == ()
    assert [found.id for found in result.recovered] == [header.id]
    assert {run.id for run in store.query()} == {header.id, result.runs[0].id}
    assert execute(plan, store, journal=begun).recovered == ()


@pytest.mark.usefixtures("device")
def test_trouble_with_what_was_left_is_told_and_costs_no_run(journal, header, store, make_bundle, tmp_path):
    journal.begin(header, ("latency",))
    (tmp_path / "begun" / f"{header.id}.json").write_text("nonsense")
    plan = make_plan([make_bundle("onnx-int8", name="b").root], ["local://"], runtime="null", runs=5)
    result = execute(plan, store, journal=journal)
    (failure,) = result.failed
    assert (failure.kind, failure.recipes) == ("ResultError", ())
    assert len(result.runs) == 1
