"""What every store has to keep to, whatever database is behind it.

Inherit it and say where a fresh database is:

    class TestSqlite(StoreContract):
        @pytest.fixture
        def place(self, tmp_path):
            return str(tmp_path / "runs.sqlite")
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.run import Run, RuntimeRef
from edgekit.errors import ResultError, UnknownNameError, UsageError
from edgekit.store import Store
from edgekit.testing.runs import example_run, example_samples

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoreContract:
    """One test a promise. A subclass brings the fixture `place`: path or URL of an empty database."""

    @pytest.fixture
    def store(self, place: str) -> Iterator[Store]:
        """Open the store under test."""
        with Store.open(place) as store:
            yield store

    def test_a_run_comes_back_as_it_went_in(self, store: Store) -> None:
        """All samples and conditions included."""
        run = example_run(
            samples_ns=example_samples(5000), facts={"model": "naïve ✓", "deep": {"a": [1, None]}}
        )
        store.save(run)
        stored, given = (json.loads(json.dumps(r.to_json())) for r in (store.get(run.id), run))
        assert stored == given
        assert store.get(run.id).samples_ns == run.samples_ns

    def test_runs_outlive_the_process(self, place: str) -> None:
        """What is saved is there when the store is opened again."""
        with Store.open(place) as first:
            first.save(example_run())
        with Store.open(place) as second:
            assert [run.id for run in second.query()] == [example_run().id]

    def test_saving_again_changes_nothing(self, store: Store) -> None:
        """The same run may be saved twice."""
        store.save(example_run())
        store.save(example_run())
        assert len(store.query()) == 1

    def test_a_run_never_changes(self, store: Store) -> None:
        """The same id with another content is refused, and the first stays."""
        store.save(example_run())
        with pytest.raises(ResultError, match="another content"):
            store.save(example_run(ended="limit"))
        assert store.get(example_run().id).ended == "done"

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_number_that_is_none(self, store: Store, value: float) -> None:
        """JSON has no word for NaN and infinity, so a run may not hold one."""
        with pytest.raises(ResultError, match="written down"):
            store.save(example_run(facts={"load": value}))
        assert store.query() == []

    def test_a_time_that_is_none(self, store: Store) -> None:
        """Runs are sorted by their time, so it has to be one."""
        with pytest.raises(ResultError, match="no time"):
            store.save(example_run(started_at="yesterday"))

    def test_found_by_prefix(self, store: Store) -> None:
        """An id may be shortened as long as it names one run; an exact id wins."""
        for id_ in ("abc1", "abc2", "abc", "xy_z", "xyaz"):
            store.save(example_run(id=id_))
        assert store.get("abc1").id == "abc1"
        assert store.get("abc").id == "abc"
        assert store.get("xy_").id == "xy_z"
        with pytest.raises(UsageError, match="several runs"):
            store.get("ab")
        with pytest.raises(UsageError, match="no run 'q'"):
            store.get("q")
        with pytest.raises(UsageError, match="named by its id"):
            store.get("")

    def test_query_picks_and_sorts(self, store: Store) -> None:
        """Newest first, words joined by "and"."""
        for run in _three():
            store.save(run)
        for text, ids in _QUERIES.items():
            assert [run.id for run in store.query(text)] == ids, text
        assert [run.id for run in store.query("last=3", limit=1)] == ["c"]

    def test_a_query_that_is_none(self, store: Store) -> None:
        """An unknown key is refused with the nearest known one."""
        with pytest.raises(UnknownNameError, match="did you mean 'device'"):
            store.query("devise=x")

    def test_export_is_whole(self, store: Store) -> None:
        """One line a run, from which the run can be made again."""
        for run in _three():
            store.save(run)
        lines = list(store.export(["a", "c"]))
        assert [Run.from_json(json.loads(line)).id for line in lines] == ["a", "c"]
        assert all("\n" not in line for line in lines)
        with pytest.raises(UsageError, match="no run"):
            list(store.export(["nobody"]))

    def test_two_stores_on_one_database(self, place: str) -> None:
        """What one has saved, the other sees."""
        with Store.open(place) as one, Store.open(place) as two:
            one.save(example_run(id="one"))
            two.save(example_run(id="two"))
            assert {run.id for run in one.query()} == {run.id for run in two.query()} == {"one", "two"}


_QUERIES = {
    "": ["c", "b", "a"],
    "last=2": ["c", "b"],
    "device=local://": ["b"],
    "device=ssh://*": ["c", "a"],
    "recipe=onnx-* device=local://": ["b"],
    "recipe=onnx": [],
    "recipe=onnx_fp*": [],
    "source=mobilenet_v2": ["b", "a"],
    "runtime=onnxruntime": ["b"],
    "precision=fp16": ["b"],
    "since=2026-11-02": ["c", "b"],
    "until=2026-11-02": ["b", "a"],
    "since=2026-11-02T12:00 until=2026-11-02T13:00:00+01:00": [],
    "since=2026-11-02T13:00:00+02:00": ["c", "b"],
    "id=a": ["a"],
    "sha256=AB": ["c", "b", "a"],
    "sha256=cd": [],
    "'device=nobody here'": [],
}


def _three() -> list[Run]:
    """Return runs a, b and c, a day apart; b's time is written with another zone."""
    base = example_run()
    other = replace(base.artifact, recipe="onnx-fp16", format="onnx", precision="fp16")
    runtime = RuntimeRef(name="onnxruntime", version="1.32.0", threads=1)
    third = replace(base.artifact, source="squeezenet_1_1")
    return [
        example_run(id="c", started_at="2026-11-03T00:00:00Z", artifact=third),
        example_run(id="a", started_at="2026-11-01T23:59:59.999+00:00"),
        example_run(
            id="b",
            started_at="2026-11-02T13:30:00+02:00",
            device="local://",
            artifact=other,
            runtime=runtime,
        ),
    ]
