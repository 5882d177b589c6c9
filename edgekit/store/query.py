"""The words that pick stored runs:

    device=ssh://pi@10.0.0.7 recipe=tflite-* source=mobilenet_v2 since=2026-11-01 last=20

    id=          the run's id, or its first characters
    sha256=      of the artifact, or its first characters
    device= target= source= recipe= format= precision= runtime=     the value; * stands for any text
    since=       started on or after this date or time (ISO 8601, UTC where no zone is given)
    until=       started before this time, or on or before this date
    last=        the newest N of them

Words are joined by "and", each key at most once; a value with a space stands in quotes. No words: all runs.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from edgekit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT = ("device", "target", "source", "recipe", "format", "precision", "runtime")
PREFIX = ("id", "sha256")
KEYS = (*PREFIX, *EXACT, "since", "until", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which runs.

    Attributes:
        equal: column -> value, "*" in it standing for any text.
        starts: column -> its first characters.
        since: started at or after, as stored (see `instant`), or "".
        until: started before, or "".
        last: how many at most, the newest; None for all.
    """

    equal: Mapping[str, str] = field(default_factory=dict)
    starts: Mapping[str, str] = field(default_factory=dict)
    since: str = ""
    until: str = ""
    last: int | None = None


def parse_query(text: str) -> Query:
    """Read a query.

    Raises:
        UnknownNameError: a key that is none of KEYS; the nearest is offered.
        UsageError: a word without "=", a key given twice, a value that can't be read.
    """
    values = _words(text)
    return Query(
        equal={key: values[key] for key in EXACT if key in values},
        starts={key: values[key].lower() for key in PREFIX if key in values},
        since=_instant(values["since"], "since") if "since" in values else "",
        until=_instant(values["until"], "until") if "until" in values else "",
        last=_count(values["last"]) if "last" in values else None,
    )


def instant(text: str) -> str:
    """Return an ISO 8601 time as it is stored: UTC, milliseconds, so that texts sort as times do.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _words(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(f"the query {text!r} has an open quote", hint="close it") from None
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(
                f"{word!r} is no part of a query", hint=f"write KEY=VALUE; keys: {', '.join(KEYS)}"
            )
        if key not in KEYS:
            raise UnknownNameError("key in query", key, KEYS)
        if key in values:
            raise UsageError(f"the query names {key!r} twice", hint="name each key once")
        values[key] = value
    return values


def _instant(text: str, key: str) -> str:
    try:
        if len(text) == len("2026-11-01"):
            day = date.fromisoformat(text) + timedelta(days=1 if key == "until" else 0)
            return instant(day.isoformat())
        return instant(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{key}={text} is no date or time", hint=f"write {key}=2026-11-01") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UsageError(f"last={text} is no count", hint="write last=20")
    return int(text)
