"""The words that pick runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UnknownNameError, UsageError
from edgekit.store.query import EXACT, KEYS, instant, parse_query


def test_every_key_is_read():
    query = parse_query(
        "id=AB sha256=cd device=local:// 'source=my net' since=2026-11-01 until=2026-11-02 last=3"
    )
    assert query.starts == {"id": "ab", "sha256": "cd"}
    assert query.equal == {"device": "local://", "source": "my net"}
    assert query.since == "2026-11-01T00:00:00.000+00:00"
    assert query.until == "2026-11-03T00:00:00.000+00:00"
    assert query.last == 3


def test_nothing_picks_all():
    assert parse_query("  ") == parse_query("")
    assert parse_query("").last is None


@pytest.mark.parametrize(
    "text",
    [
        "device",
        "device=",
        "last=0",
        "last=-1",
        "last=x",
        "last=²",
        "since=soon",
        "until=9999-12-31",
        "id=a id=b",
        "'",
    ],
)
def test_what_can_not_be_read_is_refused(text):
    with pytest.raises(UsageError):
        parse_query(text)


def test_the_nearest_key_is_offered():
    with pytest.raises(UnknownNameError, match="did you mean 'recipe'"):
        parse_query("receipe=x")
    with pytest.raises(UnknownNameError, match="known"):
        parse_query("verdict=valid")


@given(st.datetimes(timezones=st.timezones()), st.datetimes(timezones=st.timezones()))
def test_instants_sort_as_times_do(one, two):
    try:
        texts = [instant(moment.isoformat()) for moment in (one, two)]
    except OverflowError:
        return
    if texts[0] < texts[1]:
        assert one < two


@given(st.sampled_from(EXACT), st.text(min_size=1).filter(str.strip))
def test_any_value_survives_quoting(key, value):
    import shlex

    assert parse_query(shlex.quote(f"{key}={value}")).equal == {key: value}


def test_every_key_is_documented():
    from edgekit.store import query

    assert all(f"{key}=" in query.__doc__ for key in KEYS)
