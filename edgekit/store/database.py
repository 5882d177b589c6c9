"""Reaching a database: the engine for a path or URL, SQLite's settings, and its complaints in plain words."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import ResultError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

VARIABLE = "EDGEKIT_STORE"
"""The environment's variable that names the store."""
BUSY_S = 20.0
"""How long a writer waits for another."""
_RETRY_S = 0.02
_ELSEWHERE = f"name another store: --store FILE or {VARIABLE}"


def make_engine(place: str) -> tuple[Engine, str]:
    """Return an engine for a path or an SQLAlchemy URL, and the place as it may be shown.

    Raises:
        UsageError: no such kind of database, its driver is missing, or the folder can't be made.
    """
    import sqlalchemy as sa

    if "://" not in place:
        path = Path(place).expanduser()
        _make_folder(path.parent)
        url, shown = sa.URL.create("sqlite", database=str(path)), str(path)
    else:
        try:
            url = sa.make_url(place)
        except sa.exc.ArgumentError:
            raise UsageError(
                "the store's URL can't be read", hint="write a path, or dialect://user@host/name"
            ) from None
        shown = url.render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(url)
    except sa.exc.NoSuchModuleError:
        raise UsageError(f"{shown} is of no kind that SQLAlchemy knows", hint="use a path") from None
    except sa.exc.ArgumentError:
        hint = "write a path, sqlite:///PATH, or dialect://user@host/name"
        raise UsageError(f"{shown} names no database", hint=hint) from None
    except ModuleNotFoundError as error:
        raise UsageError(f"{shown} needs the driver {error.name}", hint=f"pip install {error.name}") from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine, shown


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can't be made ({error.strerror})", hint=_ELSEWHERE) from None


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Set a new SQLite connection up: wait for writers, write ahead, and reach the disk before returning."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Switch to write-ahead logging; while others switch the same new file SQLite refuses without waiting."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_RETRY_S)
        else:
            return


_CAUSES: tuple[tuple[str, type[ResultError | UsageError], str, str], ...] = (
    ("readonly", UsageError, "can't be written", _ELSEWHERE),
    ("unable to open", UsageError, "can't be opened", _ELSEWHERE),
    ("full", ResultError, "has no space left", f"free some, or {_ELSEWHERE}"),
    ("disk i/o", ResultError, "can't be read or written by the disk", "check the disk and its space"),
    ("locked", ResultError, "is held by another process", "wait until it is done, then try again"),
    ("not a database", ResultError, "is no SQLite database", "restore it from a copy, or name another store"),
    ("malformed", ResultError, "is damaged", "restore it from a copy, or name another store"),
)
"""What a database says -> what it means and what to do."""


@contextmanager
def explained(shown: str) -> Iterator[None]:
    """Turn what the database raises inside the `with` into one line.

    Args:
        shown: the store's place, for messages.

    Raises:
        UsageError: the place can't be opened or written.
        ResultError: anything else: damage, no space, another process that holds it for too long.
    """
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        said = str(error.orig)
        for word, kind, what, hint in _CAUSES:
            if word in said.lower():
                raise kind(f"the store {shown} {what}", hint=hint, evidence=said) from None
        raise ResultError(f"the store {shown} failed: {said}", evidence=said) from None
    except UnicodeDecodeError as error:  # SQLite names what it stumbled over, and its bytes are no text
        _, what, hint = _CAUSES[-1][1:]
        raise ResultError(f"the store {shown} {what}", hint=hint, evidence=str(error)) from None
