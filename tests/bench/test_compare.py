"""Sides that take turns on a device: what is counted, what is lost, and what ends a comparison."""

from types import SimpleNamespace

import pytest

from edgekit.bench import compare as module
from edgekit.bench import execute as engine
from edgekit.bench.compare import compare_on_device
from edgekit.bench.plan import make_plan
from edgekit.errors import ResultError, UsageError
from edgekit.runners import follow
from edgekit.runners.transport.fake import FakeTransport, Faults

ROUNDS = 7


@pytest.fixture
def opened(monkeypatch):
    """The connections that were opened, each with a folder of its own."""
    made = []

    def opener(device):
        transport = FakeTransport(device)
        made.append(transport)
        transport.open()
        return transport

    monkeypatch.setattr(module, "open_transport", opener)
    return made


@pytest.fixture
def plans(make_bundle):
    root = make_bundle("tflite-fp32", "onnx-int8").root

    def make(*recipes, runs=80):
        return tuple(
            make_plan(
                [root], ["fake://"], recipes=[recipe], runs=runs, warmup=1, max_s=20.0, passes=("latency",)
            )
            for recipe in recipes or ("tflite-fp32", "tflite-fp32")
        )  # fmt: skip

    return make


class Saver:
    """Keeps runs, and does something after one of them.

    Each run's durations are replaced by known ones as it is handed over, so that no busy machine decides what
    a test finds: 1 ms, one in eight of them `tails` of its recipe longer.
    """

    def __init__(self, store, at=0, do=None, tails=None):
        self.store, self.at, self.do = store, at, do
        self.tails = tails or {}
        self.runs = []

    def save(self, run):
        tail = self.tails.get(run.artifact.recipe, 1.0)
        known = tuple(round(1e6 * (tail if n % 8 == 5 else 1)) + n % 3 for n in range(len(run.samples_ns)))
        object.__setattr__(run, "samples_ns", known)
        self.runs.append(run)
        self.store.save(run)
        if len(self.runs) == self.at:
            self.do()


def test_rounds_are_two_and_two_by_a_coin_over_one_connection(plans, store, opened, monkeypatch):
    told = []
    monkeypatch.setattr(
        module, "secrets", SimpleNamespace(randbelow=lambda _: told.append(len(told) % 3 % 2) or told[-1])
    )
    notes = []
    saver = Saver(store, tails={"tflite-fp32": 2.0, "onnx-int8": 2.06})
    found = compare_on_device(
        plans("tflite-fp32", "onnx-int8", runs=300), saver, gate=0.1, percentile="P95", rounds=ROUNDS,
        on_progress=lambda step: notes.append(step.note),
    )  # fmt: skip
    assert found.decision.word == "not slower"
    assert found.decision.effect.value == pytest.approx(0.03, abs=1e-4)
    assert (len(opened), found.percentile) == (1, "P95")
    assert not opened[0].is_open
    assert (found.interleaved, found.decision.blocks) == (True, ROUNDS)
    assert {f", round {n} of 7 at most" for n in range(1, ROUNDS + 1)} <= set(notes)
    order = [run.artifact.recipe == "onnx-int8" for run in sorted(store.query(), key=lambda r: r.started_at)]
    assert order == [side == 1 for coin in told for side in ((1, 0, 0, 1) if coin else (0, 1, 1, 0))]
    assert {run.artifact.recipe for run in found.a} == {"tflite-fp32"}
    assert len(found.a) == len(found.b) == 2 * ROUNDS
    assert any(line.startswith("format: onnx, tflite") for line in found.differ)
    assert any("28 of 28 runs: suspect (fake)" in note for note in found.notes)


def test_a_lost_link_costs_its_round_alone_and_ctrl_c_keeps_what_there_is(plans, store, opened, monkeypatch):
    """Round 2 loses the link after two runs, round 4 is interrupted after one."""
    monkeypatch.setattr(follow, "_RETRY_S", (0.0, 0.0))  # it stays dead however long one waits

    class Troubled(Saver):
        def save(self, run):
            super().save(run)
            if len(self.runs) == 6:
                link = opened[0]
                link.faults = Faults(dies_after_calls=link.calls + 2, stays_dead=True)
            if len(self.runs) == 11:
                raise KeyboardInterrupt

    saver = Troubled(store)
    found = compare_on_device(plans(), saver, gate=0.05, rounds=40)
    assert len(opened) == 2
    assert [note for note in found.notes if "a round was lost: tflite-fp32" in note and "fake://" in note]
    cut = next(note for note in found.notes if "cut short" in note)
    assert saver.runs[-1].id in cut
    assert found.interrupted
    assert (found.decision.word, found.decision.final) == ("no decision", True)
    assert found.decision.why == "interrupted; the runs made are kept"
    assert found.decision.blocks == 2
    assert {run.id for run in (*found.a, *found.b)} == {
        run.id for run in (*saver.runs[:4], *saver.runs[6:10])
    }
    assert len(found.a) == len(found.b) == 4
    assert len(store.query()) == 11
    assert not any(link.is_open for link in opened)


def test_ctrl_c_between_rounds_gives_the_device_back_too(plans, store, opened):
    """It comes while the second round's first step is told: outside of any run."""

    def tell(step):
        if "round 2" in step.note:
            raise KeyboardInterrupt

    found = compare_on_device(plans(), Saver(store), gate=0.05, rounds=40, on_progress=tell)
    assert (found.interrupted, found.decision.blocks, len(found.a)) == (True, 1, 2)
    assert not opened[0].is_open


def late_after(monkeypatch, saver, runs):
    """Let ten seconds go by when so many runs are kept."""
    clock = SimpleNamespace(monotonic=lambda: 10.0 * (len(saver.runs) >= runs))
    for each in (module, engine):
        monkeypatch.setattr(each, "time", clock)


def test_time_is_looked_at_after_every_run(plans, store, opened, monkeypatch):
    saver = Saver(store)
    late_after(monkeypatch, saver, 6)
    found = compare_on_device(plans(), saver, gate=0.05, rounds=40, max_s=5)
    assert (found.decision.word, found.decision.why) == ("no decision", "the limit of 5 s came first")
    assert (found.decision.blocks, len(store.query()), found.interrupted) == (1, 6, False)
    cut = next(note for note in found.notes if "cut short" in note)
    assert all(run.id in cut for run in saver.runs[4:])
    assert all(not link.is_open for link in opened)


def test_the_last_run_of_a_round_counts_however_late_it_is(plans, store, opened, monkeypatch):
    saver = Saver(store)
    late_after(monkeypatch, saver, 4)
    found = compare_on_device(plans(), saver, gate=0.05, rounds=40, max_s=5)
    assert (found.decision.blocks, found.decision.why) == (1, "the limit of 5 s came first")
    assert len(opened) == 1
    assert not any("cut short" in note for note in found.notes)


def test_what_fails_at_once_or_again_and_again_ends_it(plans, store, opened, make_bundle):
    with pytest.raises(
        ResultError, match=r"^3 rounds in a row came to nothing, the last by run \w+ has no P95"
    ):
        compare_on_device(plans(runs=8), Saver(store), gate=0.05, percentile="P95", rounds=ROUNDS)
    assert len(store.query()) == 12
    assert not opened[-1].is_open
    bundle = make_bundle("tflite-fp32", name="gone")
    gone = tuple(make_plan([bundle.root], ["fake://"], runs=8, warmup=1) for _ in range(2))
    (bundle.root / "artifacts/tflite-fp32.tflite").unlink()
    with pytest.raises(ResultError, match="tflite-fp32"):
        compare_on_device(gone, store, gate=0.05, rounds=ROUNDS)
    assert len(store.query()) == 12


def test_a_store_that_keeps_nothing_ends_it_at_once(plans, store, opened):
    def full():
        raise ResultError("the disk is full", hint="make room")

    with pytest.raises(ResultError, match="the disk is full"):
        compare_on_device(plans(), Saver(store, at=2, do=full), gate=0.05, rounds=ROUNDS)
    assert len(store.query()) == 2
    assert not opened[0].is_open


def test_runs_whose_conditions_changed_are_no_round_unless_asked(plans, store, opened):
    """The governor changes with every run: what a run tells is altered as it is handed over."""

    class Restless(Saver):
        def save(self, run):
            for told in run.conditions:
                if told.get("when") == "during":
                    told["clusters"] = [{"governor": f"g{len(self.runs)}"}]
            super().save(run)

    with pytest.raises(ResultError, match="conditions changed between its runs: governor: g10, g11"):
        compare_on_device(plans(), Restless(store), gate=0.5, rounds=ROUNDS)

    def stop():
        raise KeyboardInterrupt

    found = compare_on_device(plans(), Restless(store, at=5, do=stop), gate=0.5, rounds=ROUNDS, across=True)
    assert found.decision.blocks == 1
    assert any(line.startswith("governor: g0") for line in found.differ)


def test_two_devices_or_too_few_rounds_are_refused_before_anything_runs(plans, make_bundle, opened):
    other = make_plan([make_bundle("tflite-fp32", name="other").root], ["local://"])
    with pytest.raises(UsageError, match="two devices"):
        compare_on_device((plans()[0], other), None, gate=0.05)
    with pytest.raises(UsageError, match="3 rounds tell nothing") as told:
        compare_on_device(plans(), None, gate=0.05, rounds=3)
    assert "give 7 or more" in str(told.value.hint)
    assert opened == []
