"""The plots as data: where things stand, what is drawn of long runs, and plotly takes it."""

import json
from dataclasses import replace

import pytest

from edgekit.report import curve, plots
from edgekit.report.slots import Slots, envelope, escaped, thinned

MIB = 1 << 20


def trace(figure, name):
    return next(t for t in figure["data"] if t["name"].startswith(name))


def texts(figure):
    return [note["text"] for note in figure["layout"]["annotations"]]


def test_plotly_accepts_both_figures(bench):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for figure in (plots.latency_figure(bench), plots.memory_figure(bench)):
        painted = json.loads(json.dumps(figure), object_hook=painted_black)
        graph_objects.Figure({"data": painted["data"], "layout": painted["layout"]})


def painted_black(table):
    return {key: "#000" if key == "color" else value for key, value in table.items()}


def test_runs_stand_under_their_device_from_the_top_down(bench):
    slots = Slots(bench)
    assert [y for y, _, _ in slots.heads] == [0, -7]
    assert [slots.y[i] for i in range(12)] == [*range(-1, -7, -1), *range(-8, -14, -1)]
    assert slots.heads[1][1:] == (
        "ssh://root@127.0.0.1:2222",
        "emulated: qemu-user, not a hardware benchmark",
    )


def test_names_carry_the_verdict_and_tell_twins_apart(make):
    from edgekit.bench.run import RuntimeRef

    other = RuntimeRef(name="onnxruntime", version="1.23.1", threads=1)
    pairs = [
        make(index=0),
        make(index=1),
        make(index=2, runtime=other),
        make(index=3, recipe="onnx-int8", doubts=[make.doubt()]),
    ]
    assert Slots(pairs).names == [
        "tflite-int8, litert 2.1.0, 4 threads",
        "tflite-int8, litert 2.1.0, 4 threads #2",
        "tflite-int8, onnxruntime 1.23.1, 1 thread",
        "onnx-int8 (suspect)",
    ]


def test_names_name_the_source_where_there_are_several(make):
    pairs = [make(index=0), make(index=1, source="squeezenet_1.1"), make(index=2, source="x" * 60)]
    names = Slots(pairs).names
    assert names[:2] == ["tflite-int8 of mobilenet_v2", "tflite-int8 of squeezenet_1.1"]
    assert names[2].endswith("…")
    assert len(names[2]) == 44


def test_every_percentile_is_drawn_with_its_interval_and_a_withheld_one_is_not(bench):
    figure = plots.latency_figure(bench)
    p50, p95 = trace(figure, "P50"), trace(figure, "P95")
    assert len(p50["x"]) == len(p50["error_x"]["array"]) == 12
    assert len(p95["x"]) == 10
    estimate = bench[0][1].latency.p50_ms
    assert p50["x"][0] == pytest.approx(estimate.value, rel=1e-4)
    assert p50["x"][0] + p50["error_x"]["array"][0] == pytest.approx(estimate.high, rel=1e-4)
    assert p50["x"][0] - p50["error_x"]["arrayminus"][0] == pytest.approx(estimate.low, rel=1e-4)
    assert p50["text"][0] == "P50 48.3 ms, 95 % interval 48.2 ms to 48.3 ms"


def test_the_axis_turns_logarithmic_when_samples_differ_twentyfold(make):
    near = [make(index=0, samples_ns=[1_000_000] * 9), make(index=1, samples_ns=[19_000_000] * 9)]
    far = [near[0], make(index=1, samples_ns=[21_000_000] * 9)]
    assert plots.latency_figure(near)["layout"]["xaxis"]["type"] == "linear"
    axis = plots.latency_figure(far)["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["1", "2", "5", "10", "20"]
    assert "logarithmic" in axis["title"]["text"]


def test_an_axis_that_does_not_begin_at_zero_says_so(make):
    tight = plots.latency_figure([make(samples_ns=[10_000_000, 11_000_000])])["layout"]["xaxis"]
    wide = plots.latency_figure([make(samples_ns=[10_000_000, 40_000_000])])["layout"]["xaxis"]
    assert tight["range"][0] > 9
    assert "does not begin at 0" in tight["title"]["text"]
    assert wide["range"][0] == 0
    assert "begin" not in wide["title"]["text"]


def test_samples_in_order_stand_around_their_row_and_cut_ones_are_marked(make):
    samples = [10_000_000] * 99 + [30_000_000]
    figure = plots.latency_figure([make(samples_ns=samples)])
    line, cut = trace(figure, "samples in order"), trace(figure, "higher")
    assert line["x"] == [*range(100), None]
    assert line["y"][:99] == [-1] * 99
    assert line["y"][99] == pytest.approx(-1 + 0.36)
    assert line["text"][99] == "sample 100: 30.0 ms"
    assert cut["x"] == [99]
    assert "max +200%" in texts(figure)


def test_a_sample_tenfold_is_told_as_a_multiple(make):
    assert "max 12x" in texts(plots.latency_figure([make(samples_ns=[10_000_000] * 9 + [120_000_000])]))


def test_samples_of_no_length_can_be_drawn(make):
    figure = plots.latency_figure([make(samples_ns=[0] * 100)])
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < 0 < high


def test_a_run_without_samples_or_memory_keeps_its_row_and_says_so(make):
    pairs = [make(index=0), make(index=1, samples_ns=[], memory=())]
    assert "no samples" in texts(plots.latency_figure(pairs))
    assert "not measured" in texts(plots.memory_figure(pairs))


def test_where_nothing_was_measured_there_is_no_plot(make):
    pairs = [make(samples_ns=[], memory=())]
    assert plots.latency_figure(pairs) is None
    assert plots.memory_figure(pairs) is None


def test_memory_bars_add_up_to_the_peak(bench):
    figure = plots.memory_figure(bench)
    base, over, loaded = (trace(figure, name) for name in ("baseline", "peak", "after"))
    peaks = [summary.memory.peak_pss_bytes / MIB for _, summary in bench]
    sums = [b + o for b, o in zip(base["x"], over["x"], strict=True)]
    assert sums == pytest.approx(peaks, rel=1e-3)
    assert len(loaded["x"]) == 12
    assert "+26.5 MiB" in texts(figure)


def test_long_runs_are_thinned_and_keep_their_extremes():
    values = [float(k * 7919 % 10007) for k in range(10_000)]
    few = thinned(values, 160)
    assert len(few) == 160
    assert (few[0], few[-1]) == (min(values), max(values))
    drawn = envelope(values, 400)
    assert 200 <= len(drawn) <= 400
    assert [i for i, _ in drawn] == sorted(i for i, _ in drawn)
    assert {min(values), max(values)} <= {v for _, v in drawn}
    assert all(values[i] == v for i, v in drawn)


def test_short_runs_are_drawn_whole():
    assert thinned([3, 1, 2], 160) == [1, 2, 3]
    assert envelope([3, 1, 2], 400) == [(0, 3), (1, 1), (2, 2)]
    assert thinned([], 160) == []


@pytest.mark.parametrize("count", [1, 12, 40])
def test_the_plot_grows_with_its_runs_and_stays_readable(make, count):
    pairs = [make(index=i, device=f"adb://{i // 8}", recipe=f"tflite-int8-prune{i}") for i in range(count)]
    slots = Slots(pairs)
    assert 30 <= (slots.height - 92) / slots.count <= 46


def test_tags_in_names_are_shown_and_not_read(make):
    figure = plots.latency_figure([make(device="<a href='javascript:x'>d</a>", recipe="<b>&lt;")])
    shown = json.dumps(figure)
    assert "<a" not in shown
    assert "&lt;a href" in shown
    assert figure["layout"]["yaxis"]["ticktext"] == ["&lt;b&gt;&amp;lt;"]
    assert escaped("<&>") == "&lt;&amp;&gt;"


def test_the_curve_of_sustained_load(make):
    pairs = [make(index=0), make(index=1, recipe="onnx-int8", curve=make.curve(10.0, 10.4, 11.0))]
    figure = curve.sustained_figure(pairs)
    (line,) = figure["data"]
    assert (line["x"], line["y"]) == ([1, 2, 3], [0, 4, 10])
    assert line["error_y"]["array"][2] == pytest.approx(1.1)
    assert line["name"] == "onnx-int8"
    assert "minute 3: P50 11.0 ms" in line["text"][2]
    assert curve.sustained_figure(pairs[:1]) is None
    graph_objects = pytest.importorskip("plotly.graph_objects")
    graph_objects.Figure(json.loads(json.dumps(figure), object_hook=painted_black))


def test_a_minute_that_is_withheld_is_left_out(make):
    kept = make.curve(10.0, 11.0)
    empty = replace(kept.minutes[1], p50_ms=None)
    one = replace(kept, minutes=(kept.minutes[0], empty))
    none = replace(kept, minutes=(replace(kept.minutes[0], p50_ms=None), empty))
    assert curve.sustained_figure([make(curve=one)])["data"][0]["x"] == [1]
    assert curve.sustained_figure([make(curve=none)]) is None


def test_devices_are_told_apart_in_the_curve(make):
    pairs = [make(index=i, device=f"adb://{i}", curve=make.curve(10, 11)) for i in range(2)]
    assert [line["name"][-7:] for line in curve.sustained_figure(pairs)["data"]] == ["adb://0", "adb://1"]
