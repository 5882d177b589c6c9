"""The store: runs go in whole, never change and never leave.

The default is one SQLite file, `$XDG_DATA_HOME/edgekit/runs.sqlite`; the variable EDGEKIT_STORE or an
argument names another file or an SQLAlchemy URL. Several processes may read and write at once: SQLite
keeps a write-ahead log, a writer waits for another, and what `save` has returned from is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgekit.bench.run import READABLE, RUN_SCHEMA, Run
from edgekit.errors import EdgeKitError, ResultError, UsageError
from edgekit.store.database import VARIABLE, explained, make_engine
from edgekit.store.query import Query, instant, parse_query
from edgekit.store.schema import prepare, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from sqlalchemy import Connection, Engine, Row, Select

_AMBIGUOUS_SHOWN = 3


class Store:
    """An open store; use it in a `with` statement, or close it.

    Attributes:
        url: where it is, a password in it masked.
    """

    def __init__(self, engine: Engine, shown: str) -> None:
        self._engine = engine
        self.url = shown

    @classmethod
    def open(cls, url: str | Path | None = None) -> Self:
        """Open a store, made anew where there is none.

        Args:
            url: a file's path or an SQLAlchemy URL; None for `default_location`.

        Raises:
            UsageError: no such kind of database, its driver is missing, or the place can't be written.
            ResultError: the file is damaged, is no database, or was written by a newer EdgeKit.
        """
        place = str(url) if url else default_location()
        engine, shown = make_engine(place)
        store = cls(engine, shown)
        try:
            with store._writing() as connection:
                prepare(connection, shown)
        except EdgeKitError:
            engine.dispose()
            raise
        return store

    def close(self) -> None:
        """Let go of the database. Closing twice is fine."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- in ------------------------------------------------------------------------------------
    def save(self, run: Run) -> None:
        """Keep a run, whole. Saving the same run again changes nothing.

        Raises:
            ResultError: another run has this id, the run holds a number that is none, or there is no space.
        """
        import sqlalchemy as sa

        _, _, runs = tables()
        row = _row(run)
        with self._writing() as connection:
            known = connection.execute(sa.select(runs.c.digest).where(runs.c.id == run.id)).scalar()
            if known is None:
                connection.execute(sa.insert(runs).values(row))
            elif known != row["digest"]:
                raise ResultError(
                    f"run {run.id} is in {self.url} already, with another content",
                    hint="runs never change: give the new one an id of its own",
                )

    # --- out -----------------------------------------------------------------------------------
    def get(self, id_: str) -> Run:
        """Return the run with this id, or the only one whose id begins with it.

        Raises:
            UsageError: there is none, or there are several.
            ResultError: what is stored is damaged.
        """
        import sqlalchemy as sa

        _, _, runs = tables()
        if not id_:
            raise UsageError("a run is named by its id", hint="see them: edgekit runs list")
        begins = runs.c.id.startswith(id_, autoescape=True)
        rows = self._rows(sa.select(runs).where(begins).order_by(runs.c.id).limit(_AMBIGUOUS_SHOWN + 1))
        exact = [row for row in rows if row.id == id_]
        if not rows:
            raise UsageError(f"no run {id_!r} in {self.url}", hint="see them: edgekit runs list")
        if len(rows) > 1 and not exact:
            ids = ", ".join(row.id for row in rows[:_AMBIGUOUS_SHOWN])
            raise UsageError(f"several runs begin with {id_!r}", hint=f"give more of it: {ids} ...")
        return self._run((exact or rows)[0])

    def query(self, text: str = "", limit: int | None = None) -> list[Run]:
        """Return the runs that a query picks, the newest first; `edgekit.store.query` has its words.

        Args:
            text: the query; empty for all.
            limit: how many at most.

        Raises:
            UsageError: the query can't be read.
            ResultError: what is stored is damaged.
        """
        query = parse_query(text)
        counts = [count for count in (query.last, limit) if count is not None]
        statement = _select(query)
        if counts:
            statement = statement.limit(min(counts))
        return [self._run(row) for row in self._rows(statement)]

    def export(self, ids: Iterable[str]) -> Iterator[str]:
        """Yield each run as one line of JSON, with all its samples; `Run.from_json` reads it.

        Raises:
            UsageError: there is no such run.
        """
        for id_ in ids:
            yield canonical(self.get(id_))

    # --- the database --------------------------------------------------------------------------
    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with explained(self.url), self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def _rows(self, statement: Select[Any]) -> list[Row[Any]]:
        with explained(self.url), self._engine.connect() as connection:
            return list(connection.execute(statement))

    def _run(self, row: Row[Any]) -> Run:
        try:
            text = zlib.decompress(row.body)
        except zlib.error:
            text = b""
        if hashlib.sha256(text).hexdigest() != row.digest:
            raise ResultError(f"run {row.id} in {self.url} is damaged", hint="restore the store from a copy")
        data = json.loads(text)
        if data.get("schema") not in READABLE:
            raise ResultError(
                f"run {row.id} has schema {data.get('schema')}, this EdgeKit reads up to {RUN_SCHEMA}",
                hint="use the EdgeKit that wrote it, or a newer one",
            )
        return Run.from_json(data)


def default_location() -> str:
    """Return EDGEKIT_STORE, or the path of the user's own store."""
    if place := os.environ.get(VARIABLE):
        return place
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return str(Path(data) / "edgekit" / "runs.sqlite")


def canonical(run: Run) -> str:
    """Return a run's one text: JSON with sorted keys and no spaces.

    Raises:
        ResultError: it holds a NaN, an infinity or something that JSON has no word for.
    """
    try:
        return json.dumps(run.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ResultError(f"run {run.id} can't be written down ({error})") from None


def _row(run: Run) -> dict[str, Any]:
    text = canonical(run).encode()
    try:
        started_at = instant(run.started_at)
    except ValueError:
        raise ResultError(f"run {run.id} started at {run.started_at!r}, which is no time") from None
    return {
        "id": run.id,
        "started_at": started_at,
        "device": run.device,
        "target": run.target,
        "source": run.artifact.source,
        "recipe": run.artifact.recipe,
        "format": run.artifact.format,
        "precision": run.artifact.precision,
        "sha256": run.artifact.sha256,
        "runtime": run.runtime.name,
        "ended": run.ended,
        "digest": hashlib.sha256(text).hexdigest(),
        "body": zlib.compress(text),
    }


def _select(query: Query) -> Select[Any]:
    import sqlalchemy as sa

    _, _, runs = tables()
    statement = sa.select(runs).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    for name, value in query.equal.items():
        pattern = "".join({"*": "%", "%": r"\%", "_": r"\_", "\\": r"\\"}.get(c, c) for c in value)
        statement = statement.where(
            runs.c[name].like(pattern, escape="\\") if "*" in value else runs.c[name] == value
        )
    for name, value in query.starts.items():
        statement = statement.where(runs.c[name].startswith(value, autoescape=True))
    if query.since:
        statement = statement.where(runs.c.started_at >= query.since)
    if query.until:
        statement = statement.where(runs.c.started_at < query.until)
    return statement
