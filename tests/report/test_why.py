"""Why a run is not faster, on the page: recorded runs with their operators' times, beside others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.explain.explain import explain
from edgekit.bench.explain.table import HEADS, table_of
from edgekit.bench.run import Run
from edgekit.bench.summarize import summarize
from edgekit.report.html import render
from edgekit.report.why import MOST, whys_of

pytest.importorskip("jinja2")
pytest.importorskip("plotly")
RECORDED = Path(__file__).parents[1] / "bench/explained"


def recorded(name):
    return [Run.from_json(told) for told in json.loads((RECORDED / f"{name}.json").read_text())]


@pytest.fixture(params=["plain", "moving", "a72"])
def sides(request):
    float_, int8 = recorded(request.param)
    return named(float_, "fp32"), named(int8, "int8")


def named(run, precision):
    """Return a run of a bare file as one of a bundle's artifact."""
    ref = replace(run.artifact, precision=precision, source="digits", recipe=f"tflite-{precision}")
    return replace(run, artifact=ref)


def page(runs):
    return render([(run, summarize(run)) for run in runs])


def test_a_page_of_two_runs_with_times_says_why(sides):
    a, b = sides
    (why,) = whys_of([b, a])
    told = explain(a, b)
    assert (why.a, why.b, why.line) == (1, 0, told.line)
    assert why.evidence[: len(told.cause.evidence)] == told.cause.evidence
    assert why.operators == tuple(table_of(told, most=MOST)[0])
    assert len(why.operators) + why.left == len(told.pair.rows)
    html = page([b, a])
    assert html.count('<details class="why">') == 1
    assert 'id="why"' in html
    for text in (*HEADS, why.operators[0][0]):
        assert text in html


def test_without_times_or_a_float_run_beside_it_nothing_is_said(sides):
    a, b = sides
    bare = replace(a, ops=())
    elsewhere = replace(a, device="ssh://pi@10.0.0.9")
    threads = replace(a, runtime=replace(a.runtime, threads=a.runtime.threads + 3))
    other = replace(a, artifact=replace(a.artifact, source="another"))
    for first in (bare, elsewhere, threads, other, b):
        assert whys_of([first, b]) == []
    nameless = [replace(run, artifact=replace(run.artifact, source="")) for run in sides]
    assert whys_of(nameless) == []
    assert whys_of([a, replace(b, ops=())]) == []
    assert 'id="why"' not in page([bare, b])


def test_each_is_held_against_the_nearest_float_run_before_it(sides):
    a, b = sides
    runs = [b, a, a, b]
    assert [(why.a, why.b) for why in whys_of(runs)] == [(1, 0), (2, 3)]


def test_a_table_leaves_out_the_quickest(sides):
    told = explain(*sides)
    whole, none = table_of(told)
    assert (len(whole), none) == (len(told.pair.rows), 0)
    few, left = table_of(told, most=2)
    assert (len(few), left) == (2, len(whole) - 2)
    assert [line for line in whole if line in few] == few  # in the network's order
    assert all(len(line) == len(HEADS) for line in whole)


def test_what_a_device_told_is_no_markup(sides):
    a, b = sides
    ops = tuple({**event, "where": "<b>x</b>"} if event["e"] == "op" else event for event in b.ops)
    html = page([a, replace(b, ops=ops)])
    assert "<b>x</b>" not in html.partition('id="why"')[2].partition('id="memory"')[0]
