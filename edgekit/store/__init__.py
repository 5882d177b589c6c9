"""The store: every run, whole and for good. SQLite at home, any SQLAlchemy URL elsewhere."""

from __future__ import annotations

from edgekit.store.query import Query, parse_query
from edgekit.store.store import Store, default_location

__all__ = ["Query", "Store", "default_location", "parse_query"]
