"""What a run says as text: labels, withheld numbers, doubts, and nothing that steers a terminal."""

from dataclasses import replace

import pytest

from edgekit.errors import UsageError
from edgekit.report.cells import banner, clean, groups_of, power_text, rows_of


def row_of(pair):
    return rows_of([pair])[0][0]


def test_a_row_holds_every_column_as_text(make):
    row = row_of(make(samples_ns=[12_300_000] * 100))
    assert (str(row.load), str(row.first)) == ("8.21 ms", "33.1 ms")
    assert str(row.p50) == "12.3 [12.3, 12.3] ms"
    assert (str(row.memory), row.peak, row.count) == ("9.6 MiB", "31.0 MiB", "100")
    assert (row.runtime, row.threads) == ("litert 2.1.0", "4 threads")
    assert row.parity == "ok, 0.00213"
    assert row.parity_more == "limit 0.02, SNR 38.4 dB, top-1 100 % of 8"
    assert (row.verdict, row.notes) == ("valid", ())


def test_withheld_percentiles_say_what_they_need_each_its_own(make):
    row = row_of(make(count=50))
    assert row.p50.interval
    assert str(row.p95) == "withheld: needs 9 more"
    row = row_of(make(count=3, withheld="P50 needs 6 samples, 3 more; P95 needs 59 samples, 56 more"))
    assert (str(row.p50), str(row.p95)) == ("withheld: needs 3 more", "withheld: needs 56 more")


def test_every_percentile_and_what_the_samples_are_worth(make):
    row = row_of(make(count=300, worth=0.19))
    for figure in (row.p50, row.p90, row.p95, row.p99):
        assert figure.interval
        assert figure.unit == "ms"
    assert (row.count, row.count_more) == ("300", "10 warm-up, worth 57")
    assert row_of(make(count=300)).count_more == "10 warm-up"
    reasons = "P90 needs 29 samples, 9 more; P95 needs 59 samples, 39 more; P99 needs 299 samples, 279 more"
    row = row_of(make(count=20, withheld=reasons))
    assert [str(f) for f in (row.p90, row.p99)] == ["withheld: needs 9 more", "withheld: needs 279 more"]
    assert str(row_of(make(count=50)).p99) == "withheld"


def test_a_run_that_was_never_steady_says_so(make):
    run, summary = make()
    moved = replace(summary, latency=replace(summary.latency, steady=False))
    assert row_of((run, moved)).count_more == "10 warm-up, not steady"


def test_the_last_minute_stands_against_the_first(make):
    row = row_of(make(curve=make.curve(10.0, 10.4, 11.0)))
    assert row.sustained == "+10.0 % [+9.0 %, +11.0 %] from minute 1 to minute 3"
    few = replace(make.curve(10.0, 11.0), slowdown=None)
    assert row_of(make(curve=few)).sustained == "withheld from minute 1 to minute 2: too few samples a minute"
    assert row_of(make()).sustained == ""


def test_a_reason_in_other_words_is_kept_as_it_is(make):
    row = row_of(make(count=50, withheld="the clock jumped"))
    assert str(row.p95) == "withheld: the clock jumped"


def test_a_run_that_never_began_has_no_made_up_numbers(make):
    row = row_of(make(samples_ns=[], load_ns=None, first_ns=None, memory=(), parity=None, ended="lost"))
    assert {str(row.load), str(row.first)} == {"not reached"}
    assert {str(row.p50), str(row.p95)} == {"no samples"}
    assert (str(row.memory), row.peak) == ("not measured", "")
    assert (row.parity, row.parity_more) == ("not checked", "no golden outputs were compared")


def test_outputs_that_can_not_be_compared_are_wrong_in_words(make):
    parity = make.parity(ok=False, error=None, snr=None, top1=None)
    row = row_of(make(parity=parity))
    assert (row.parity, row.parity_more) == ("WRONG, can't compare", "limit 0.02")


def test_a_blind_parity_says_that_it_proves_little(make):
    assert "blind" in row_of(make(parity=make.parity(blind=True))).parity_more


@pytest.mark.parametrize(
    ("power", "text"),
    [
        ({"unavailable": "no sensor"}, "not measurable here: no sensor"),
        ({"unavailable": "not measurable here: no sensor"}, "not measurable here: no sensor"),
        ({}, "not measurable here: nobody said why"),
        ({"source": "ina219", "mean_mw": 812.4}, "812 mW (ina219)"),
        (
            {
                "source": "ina219",
                "mean_mw": 812.4,
                "energy_per_inference_uj": {"value": 1234, "low": 1200, "high": 1300},
            },
            "812 mW, 1.23 mJ [1.20 mJ, 1.30 mJ] an inference (ina219)",
        ),
    ],
)
def test_power_is_figures_with_their_sensor_or_the_reason_why_not(power, text):
    assert power_text(power) == text


def test_doubts_that_share_code_limit_and_hint_are_one_note(make):
    pairs = [
        make(index=1, doubts=[make.doubt(value=0.31)]),
        make(index=2, doubts=[make.doubt(value=0.12), make.doubt("few-samples", value=50, limit=59)]),
        make(index=3, doubts=[make.doubt(value=0.2, limit=0.15)]),
    ]
    rows, notes = rows_of(pairs)
    assert [row.notes for row in rows] == [(1,), (1, 2), (3,)]
    assert notes[0].told == ((0, "0.31"), (1, "0.12"))
    assert str(notes[0]).startswith("spread: 0.12 to 0.31 in 2 runs, limit 0.1; the samples scatter")
    assert str(notes[1]) == "few-samples: 50, limit 59; P95 needs 9 more: raise --runs or the time limit"


def test_groups_keep_the_devices_order_and_what_all_their_runs_share(make):
    meter = {"source": "ina219", "mean_mw": 800}
    devices = ("ssh://b", "ssh://a", "ssh://b")
    pairs = [make(index=i, device=device) for i, device in enumerate(devices)]
    pairs.append(make(index=9, device="ssh://a", power=meter, labels=("fake device",)))
    groups = groups_of(rows_of(pairs)[0])
    assert [(g.device, g.members) for g in groups] == [("ssh://b", (0, 2)), ("ssh://a", (1, 3))]
    assert [g.power for g in groups] == ["not measurable here: no sensor", ""]
    assert [g.labels for g in groups] == [(), ("fake device",)]
    assert groups[0].threads == "4 threads"


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((), ""),
        (("emulated: qemu-user",), "emulated: qemu-user, not a hardware benchmark"),
        (("instruction time: qemu-icount",), "instruction time: qemu-icount, not a hardware benchmark"),
        (("fake device",), "fake device, not a hardware benchmark"),
        (
            ("null runtime: nothing was computed",),
            "null runtime: nothing was computed, not a hardware benchmark",
        ),
        (("on battery",), "on battery"),
    ],
)
def test_a_banner_says_when_it_is_no_hardware(labels, text):
    assert banner(labels) == text


@pytest.mark.parametrize("evil", ["\x1b[31m", "a\x07b", "\u202eabc", "\x00", "\x9b31m", "\u2028"])
def test_control_and_bidi_characters_are_made_harmless(evil):
    assert "\ufffd" in clean(evil)
    assert not set(clean(evil)) & set("\x1b\x07\x00\x9b\u202e\u2028")


def test_line_ends_become_spaces():
    assert clean("a\r\nb\tc\nd") == "a b c d"


def test_no_runs_and_a_foreign_summary_are_refused(make):
    with pytest.raises(UsageError, match="no runs to report"):
        rows_of([])
    (run, _), (_, summary) = make(index=1), make(index=2)
    with pytest.raises(UsageError, match="summary of run 'run-0002' was paired with run 'run-0001'"):
        rows_of([(run, summary)])
