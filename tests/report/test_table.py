"""The terminal's tables at 80, 120 and 200 columns, and without a terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from edgekit.report.table import print_run_list, print_runs, print_table

WIDTHS = (80, 120, 200)


def printed(call, *args, width, **options):
    stream = io.StringIO()
    call(Console(file=stream, width=width, highlight=False, **options), *args)
    return stream.getvalue()


def told(text):
    """The text without the tables' layout: every run of blanks is one."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(bench, width):
    for call in (print_runs, print_run_list):
        lines = printed(call, bench, width=width).splitlines()
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_is_there_at_every_width(bench, width):
    text = told(printed(print_runs, bench, width=width))
    for wanted in ("12.91", "[12.90, 12.93]", "13.7", "[13.1, 14.2]", "1083 ms", "8.21 ms", "246.5 MiB"):
        assert wanted in text
    assert text.count("withheld:") == 2
    assert text.count("not measurable here: no sensor") == 2
    assert "onnxruntime" in text
    assert "…" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_words_and_addresses_are_never_broken(bench, width):
    text = printed(print_runs, bench, width=width)
    for word in (
        "tflite-int8-prune50",
        "ssh://root@127.0.0.1:2222",
        "onnxruntime",
        "suspect",
        "0.00213",
        "4 threads",
    ):
        assert word in text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_label_stands_with_its_device(bench, width):
    lines = printed(print_runs, bench, width=width).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("ssh://root@127.0.0.1:2222"))
    assert "[emulated: qemu-user, not a hardware benchmark]" in lines[at] + lines[at + 1]


@pytest.mark.parametrize("width", WIDTHS)
def test_doubts_are_numbered_notes_with_number_limit_and_hint(bench, width):
    text = told(printed(print_runs, bench, width=width))
    assert "[2] spread: 0.31, limit 0.1; the samples scatter: stop other work there" in text
    assert "[3] outputs-wrong: 0.873 in 2 runs, limit 0.02; the outputs are not the source's" in text
    assert "[4] emulated in 6 runs: qemu-user is no hardware" in text


def test_the_shape_follows_the_width(bench):
    narrow, medium, wide = (printed(print_runs, bench, width=width) for width in WIDTHS)
    assert "tflite-int8 of mobilenet_v2  valid" in narrow
    assert "artifact  " not in narrow
    assert medium.count("artifact  ") == 2
    rows = [line for line in wide.splitlines() if line.startswith(("tflite-", "onnx-"))]
    assert len(rows) == 12
    assert all("mobilenet_v2" in row and " ms " in row for row in rows)


def test_the_columns_of_all_devices_line_up(bench):
    for width in (120, 200):
        heads = [
            line
            for line in printed(print_runs, bench, width=width).splitlines()
            if line.startswith("artifact  ")
        ]
        assert len(heads) == 2
        assert len(set(heads)) == 1


def test_numbers_are_set_right(bench):
    lines = printed(print_runs, bench, width=200).splitlines()
    head = next(line for line in lines if line.startswith("artifact"))
    end = head.index("load") + len("load")
    rows = [line for line in lines if line.startswith(("tflite-", "onnx-"))]
    assert {line[end - 3 : end] for line in rows} == {" ms"}


def test_a_power_figure_brings_its_column_back(make):
    meter = {"source": "ina219", "mean_mw": 812.4, "energy_per_inference_uj": 1234}
    pairs = [make(index=0, power=meter), make(index=1)]
    for width in (80, 240):
        text = told(printed(print_runs, pairs, width=width))
        assert "812 mW, 1.23 mJ an inference (ina219)" in text
        assert "not measurable here: no sensor" in text


def test_threads_that_differ_stand_with_their_run(make):
    from edgekit.bench.run import RuntimeRef

    pairs = [
        make(index=i, runtime=RuntimeRef(name="litert", version="2.1.0", threads=n))
        for i, n in enumerate((1, 4))
    ]
    text = printed(print_runs, pairs, width=200)
    assert "1 thread " in text
    assert "4 threads" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_that_never_began_is_printed_in_words(make, width):
    pair = make(samples_ns=[], load_ns=None, first_ns=None, memory=(), parity=None)
    text = told(printed(print_runs, [pair], width=width))
    for words in ("not reached", "no samples", "not measured", "not checked"):
        assert words in text


def test_without_a_terminal_there_is_no_colour_code(bench):
    assert "\x1b" not in printed(print_runs, bench, width=120)


def test_with_a_terminal_verdicts_are_coloured_words(bench, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(print_runs, bench, width=200, force_terminal=True, color_system="standard")
    assert "\x1b[32mvalid\x1b[0m" in text
    assert "\x1b[33msuspect\x1b[0m" in text
    assert "\x1b[1;31minvalid\x1b[0m" in text


def test_an_ascii_console_gets_ascii(bench):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    print_runs(Console(file=stream, width=120, highlight=False), bench)
    stream.flush()
    assert b"tflite-int8-prune50" in raw.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("call", [print_runs, print_run_list])
def test_a_hostile_name_neither_marks_up_nor_steers(make, call, width):
    pair = make(device="ssh://[red]x\x1b]0;owned\x07", recipe="tflite-[/bold]", source="a\nb\x1b[2J")
    text = printed(call, [pair], width=width, force_terminal=True, color_system=None)
    assert "[red]x\ufffd]0;owned\ufffd" in text
    assert "tflite-[/bold]" in text
    assert "\x1b" not in text


def test_nothing_is_printed_as_nothing(make):
    assert printed(print_runs, [], width=80) == "no runs\n"
    assert printed(print_run_list, [], width=80) == "no runs\n"
    assert printed(print_table, "Zoo", ("network",), [], width=80) == "Zoo\nnone\n"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_of_runs_has_all_of_a_run_on_one_line_or_two(bench, width):
    lines = printed(print_run_list, bench, width=width).splitlines()
    assert len(lines) == (2 + 12 if width == 200 else 24 + (width == 80))
    text = told("\n".join(lines))
    assert "run-0010 2026-03-02 10:10 ssh://root@127.0.0.1:2222 (emulated: qemu-user) onnx-fp32" in text
    assert "withheld: needs 9 more" in text


ROWS = [
    ("mobilenet_v2_1.0", "3,504,872", "71.9 %", "a sentence that tells where the number was published"),
    ("squeezenet_1.1", "1,235,496", "-", "-"),
]
NAMES = ("network", "parameters", "top-1", "source of top-1")


def test_a_small_table_sets_numbers_right_and_words_left():
    lines = printed(print_table, "Zoo", NAMES, ROWS, ["a note"], width=120).splitlines()
    assert lines[0] == "Zoo"
    assert lines[-1] == "a note"
    assert lines[3].startswith("mobilenet_v2_1.0   3,504,872  71.9 %  a sentence")
    assert lines[4].startswith("squeezenet_1.1     1,235,496       -  -")


def test_a_small_table_wraps_between_words_where_it_has_to():
    text = printed(print_table, "Zoo", NAMES, ROWS, width=70)
    assert "a sentence that tells where" in text
    assert "published" in text
    assert max(map(len, text.splitlines())) <= 70


def test_a_small_table_becomes_blocks_where_its_words_do_not_fit():
    text = printed(print_table, "Zoo", NAMES, ROWS, width=44)
    assert "network          mobilenet_v2_1.0\n" in text
    assert "parameters       3,504,872\n" in text
    assert "source of top-1  a sentence that tells where\n                 the number was published\n" in text


def test_a_word_wider_than_the_terminal_is_folded_and_not_lost():
    text = printed(print_table, "", ("path", "sha256"), [("x" * 50, "y" * 64)], width=60)
    assert text.count("x") == 50
    assert text.count("y") == 64
    assert max(map(len, text.splitlines())) <= 60


def test_a_small_table_takes_text_as_it_is():
    text = printed(print_table, "[bold]t", ("[a]",), [("[/b] \x1b[1m",)], ["[c]"], width=80)
    assert text.splitlines()[0] == "[bold]t"
    assert "[/b] \ufffd[1m" in text
    assert "[c]" in text


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        printed(print_table, "t", ("a", "b"), [("1",)], width=80)


def test_the_outer_percentiles_and_the_count_are_there_where_they_fit(make):
    pairs = [make(index=i, count=300, worth=0.19) for i in range(2)]
    wide = printed(print_runs, pairs, width=240)
    for name in ("P50", "P90", "P95", "P99", "samples"):
        assert name in wide
    assert "300 10 warm-up, worth 57" in wide
    medium = printed(print_runs, pairs, width=110)
    assert "P95" in medium
    assert "P90" not in medium
    narrow = told(printed(print_runs, pairs, width=60))
    assert "P99 " in narrow
    assert "samples 300, 10 warm-up, worth 57" in narrow


def test_a_percentile_that_nobody_has_gets_no_column(bench):
    head = next(line for line in printed(print_runs, bench, width=240).splitlines() if "P50" in line)
    assert "P90" in head
    assert "P99" not in head


@pytest.mark.parametrize("width", WIDTHS)
def test_sustained_load_is_a_line_of_its_own(make, width):
    text = told(printed(print_runs, [make(curve=make.curve(10, 11))], width=width))
    assert "+10.0 % [+9.0 %, +11.0 %] from minute 1 to minute 2" in text
