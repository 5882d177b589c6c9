"""The store's tables, and how a database comes to have them.

    edgekit_store   one row: the schema's version
    runs            one row a run: columns to find it by, and the whole run in `body`

`body` is the run's canonical JSON (sorted keys, no spaces), compressed by zlib; `digest` is the sha256
of that JSON and makes a damaged or foreign body known. History: 1, the first.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from edgekit.errors import ResultError

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

SCHEMA = 1
VERSION_TABLE = "edgekit_store"
COLUMNS = ("device", "target", "source", "recipe", "format", "precision", "sha256", "runtime", "ended")
"""Text columns that a run is found by, beside `id` and `started_at`."""


@functools.cache
def tables() -> tuple[MetaData, Table, Table]:
    """Return SQLAlchemy's metadata, the version's table and the runs' table."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    version = sa.Table(VERSION_TABLE, metadata, sa.Column("version", sa.Integer, nullable=False))
    runs = sa.Table(
        "runs",
        metadata,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("started_at", sa.String(40), nullable=False, index=True),
        *(sa.Column(name, sa.Text, nullable=False, index=name in ("device", "sha256")) for name in COLUMNS),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    return metadata, version, runs


def prepare(connection: Connection, shown: str) -> None:
    """Make the tables where there are none, and refuse a database that this EdgeKit can't keep.

    Args:
        connection: in a transaction that shuts out other writers, so that two processes may open a new
            store at once.
        shown: the store's location, for messages.

    Raises:
        ResultError: it was written by a newer EdgeKit, or is somebody else's database.
    """
    import sqlalchemy as sa

    metadata, version, _ = tables()
    names = sa.inspect(connection).get_table_names()
    if VERSION_TABLE not in names:
        if "runs" in names:
            raise ResultError(
                f"{shown} has a table 'runs' that EdgeKit did not make",
                hint="name another store: --store FILE",
            )
        metadata.create_all(connection)
        connection.execute(sa.insert(version).values(version=SCHEMA))
        return
    found: Any = connection.execute(sa.select(sa.func.max(version.c.version))).scalar()
    if found is None or found > SCHEMA:
        raise ResultError(
            f"{shown} has store schema {found}, this EdgeKit knows {SCHEMA}",
            hint="use the EdgeKit that wrote it, or a newer one",
        )
