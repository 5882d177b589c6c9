"""The SQLite store: the contract, and what is SQLite's own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib

import pytest

from edgekit.errors import EdgeKitError, ResultError, UsageError
from edgekit.store import Store, default_location
from edgekit.testing.runs import example_run
from edgekit.testing.store_contract import StoreContract

WRITER = """
import sys
from edgekit.store import Store
from edgekit.testing.runs import example_run
place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store.open(place) as store:
    for i in range(count):
        store.save(example_run(id=f"{name}-{i:05}", samples_ns=tuple(range(2000))))
        print(i, flush=True)
"""


class TestSqlite(StoreContract):
    @pytest.fixture
    def place(self, tmp_path):
        return str(tmp_path / "new folder" / "runs.sqlite")


def writer(place, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_write_a_new_store_at_once(tmp_path):
    place = tmp_path / "runs.sqlite"
    writers = [writer(place, name, 20) for name in ("one", "two", "three")]
    for process in writers:
        process.communicate(timeout=60)
    assert [process.returncode for process in writers] == [0, 0, 0]
    with Store.open(place) as store:
        assert len(store.query()) == 60


def test_a_killed_writer_loses_nothing_it_was_told_is_saved(tmp_path):
    place = tmp_path / "runs.sqlite"
    process = writer(place, "k", 100_000)
    told = [int(process.stdout.readline()) for _ in range(10)]
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.communicate(timeout=30)[0].split()]
    with Store.open(place) as store:
        ids = {run.id for run in store.query()}
        assert {f"k-{i:05}" for i in told} <= ids
        store.save(example_run())


def test_the_location(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKIT_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_location() == str(tmp_path / "data" / "edgekit" / "runs.sqlite")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_location() == str(tmp_path / "home" / ".local/share/edgekit/runs.sqlite")
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "mine.sqlite"))
    with Store.open() as store:
        store.save(example_run())
        assert store.url == str(tmp_path / "mine.sqlite")
    with Store.open(f"sqlite:///{tmp_path}/mine.sqlite") as store:
        assert len(store.query()) == 1


def refusal(place):
    with pytest.raises(EdgeKitError) as caught:
        Store.open(place).close()
    assert "\n" not in str(caught.value)
    return caught.value


def test_places_that_can_not_be(tmp_path):
    assert isinstance(refusal(tmp_path), UsageError)
    (tmp_path / "file").write_text("x")
    error = refusal(tmp_path / "file" / "runs.sqlite")
    assert isinstance(error, UsageError)
    assert "--store" in error.hint
    assert "SQLAlchemy" in refusal("nosuchdialect://x").what
    assert "needs the driver" in refusal("mysql+asyncmy://u:secret@h/db").what
    assert "secret" not in str(refusal("mysql+asyncmy://u:secret@h/db"))


@pytest.mark.parametrize("content", [b"hello, I am no database" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database(tmp_path, content):
    place = tmp_path / "runs.sqlite"
    place.write_bytes(content)
    assert isinstance(refusal(place), ResultError)
    assert place.read_bytes() == content


def filled(place):
    with Store.open(place) as store:
        for i in range(60):
            store.save(example_run(id=f"r{i}", samples_ns=tuple(x * x % 99991 for x in range(i, 900 + i))))
    database = sqlite3.connect(place)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return place


def test_a_truncated_database(tmp_path):
    place = filled(tmp_path / "runs.sqlite")
    with place.open("r+b") as file:
        file.truncate(place.stat().st_size // 2)
    with pytest.raises(ResultError, match=r"damaged|database"), Store.open(place) as store:
        store.query()


def test_a_damaged_run_is_named_and_the_others_stay(tmp_path):
    place = filled(tmp_path / "runs.sqlite")
    forged = zlib.compress(json.dumps(example_run(id="r7").to_json()).encode())
    for id_, body in (("r7", forged), ("r8", b"no zlib")):
        with sqlite3.connect(place) as database:
            database.execute("UPDATE runs SET body = ? WHERE id = ?", (body, id_))
        database.close()
    with Store.open(place) as store:
        for id_ in ("r7", "r8"):
            with pytest.raises(ResultError, match=f"run {id_} .* is damaged"):
                store.get(id_)
        assert store.get("r9").id == "r9"


def changed(place, statement):
    with sqlite3.connect(place) as database:
        database.execute(statement)
    database.close()


def test_a_newer_store_is_refused_and_left_alone(tmp_path):
    place = filled(tmp_path / "runs.sqlite")
    changed(place, "UPDATE edgekit_store SET version = 2")
    assert "schema 2, this EdgeKit knows 1" in refusal(place).what


def test_somebody_elses_database_is_left_alone(tmp_path):
    place = tmp_path / "theirs.sqlite"
    changed(place, "CREATE TABLE runs (miles REAL)")
    assert "did not make" in refusal(place).what
    with sqlite3.connect(place) as database:
        tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    database.close()
    assert tables == [("runs",)]


def test_a_run_of_a_newer_edgekit(tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.save(example_run(schema=99))
        with pytest.raises(ResultError, match="has schema 99"):
            store.get(example_run().id)


def test_no_space_left(tmp_path):
    import sqlalchemy as sa

    with Store.open(tmp_path / "runs.sqlite") as store:
        store.save(example_run(id="before"))

        @sa.event.listens_for(store._engine, "begin")
        def _(connection):
            connection.exec_driver_sql("PRAGMA max_page_count = 20")

        big = example_run(id="big", facts={"noise": os.urandom(300_000).hex()})
        with pytest.raises(ResultError, match="no space left"):
            store.save(big)
        assert [run.id for run in store.query()] == ["before"]


def test_a_store_that_can_only_be_read(tmp_path):
    place = filled(tmp_path / "runs.sqlite")
    with Store.open(f"sqlite:///file:{place}?mode=ro&uri=true") as store:
        assert len(store.query()) == 60
        with pytest.raises(UsageError, match="can't be written"):
            store.save(example_run())


def test_a_writer_waits_for_another_and_then_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.store.database.BUSY_S", 0.2)
    place = filled(tmp_path / "runs.sqlite")
    other = sqlite3.connect(place, isolation_level=None)
    with Store.open(place) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResultError, match="held by another process"):
            store.save(example_run())
        assert len(store.query("last=5")) == 5
        other.execute("ROLLBACK")
        store.save(example_run())
    other.close()
