"""Numbers as text: digits, units, and no rounding that says more than is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import units

FINITE = st.floats(min_value=1e-5, max_value=1e7, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123 ms"),
        (12.345, "12.3 ms"),
        (99.96, "100 ms"),
        (9.996, "10.0 ms"),
        (1234.4, "1234 ms"),
        (0, "0.00 ms"),
        (1e-9, "0.000000 ms"),
    ],
)
def test_times_have_three_significant_digits(value, text):
    assert units.ms_text(value) == text


@given(FINITE)
def test_a_time_is_within_half_a_digit_of_itself(value):
    shown = float(units.ms_text(value).removesuffix(" ms"))
    assert shown == pytest.approx(value, rel=0.00501, abs=6e-7)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((12.34, 12.1, 12.6), "12.3 [12.1, 12.6] ms"),
        ((12.34, 12.338, 12.341), "12.340 [12.338, 12.341] ms"),
        ((48.31, 48.2, 51), "48.3 [48.2, 51.0] ms"),
        ((5, 5, 5), "5.00 [5.00, 5.00] ms"),
        ((447.1, 440.2, 454.4), "447 [440, 454] ms"),
        ((0.01234, 0.0121, 0.0127), "0.0123 [0.0121, 0.0127] ms"),
    ],
)
def test_an_interval_has_the_digits_of_its_number(numbers, text):
    assert units.interval_text(*numbers) == text


@given(FINITE, st.floats(0.5, 1.0), st.floats(1.0, 2.0))
def test_an_interval_never_reads_the_wrong_way_round(value, down, up):
    number, interval = units.interval_texts(value, value * down, value * up)
    low, high = (float(end) for end in interval.strip("[]").split(", "))
    assert low <= float(number) <= high


def test_an_interval_without_an_end_says_so():
    assert units.interval_text(12.3, 12.1, math.inf) == "12.3 [12.1, inf] ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31234, "0.312"),
        (130.0, "130"),
        (0.5, "0.5"),
        (0, "0"),
        (-3, "-3"),
        (59, "59"),
        (0.00213, "0.00213"),
        (1e-12, "1.00e-12"),
        (3e12, "3.00e+12"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_bare_number_has_no_idle_zeros(value, text):
    assert units.number_text(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1572864, "1.5 MiB"),
        (1048575, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 50, "5120.0 TiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes(count, text):
    assert units.bytes_text(count) == text


def test_a_size_for_a_column_of_mib():
    assert units.mib_text(1572864) == "1.5"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (3504872, "3.50 M"),
        (569000000, "569 M"),
        (999999, "1.00 M"),
        (999, "999"),
        (12345, "12.3 k"),
        (2e9, "2.00 G"),
    ],
)
def test_counts(count, text):
    assert units.count_text(count) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.5, "50 %"),
        (0.98765, "98.8 %"),
        (0.9999, "99.99 %"),
        (0.999999, "99.9999 %"),
        (0, "0 %"),
        (0.375, "37.5 %"),
    ],
)
def test_what_is_not_everything_never_reads_a_hundred_percent(share, text):
    assert units.percent_text(share) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: units.mw_text(812.4), "812 mW"),
        (lambda: units.mw_text(999.9), "1.00 W"),
        (lambda: units.mw_text(4321.0), "4.32 W"),
        (lambda: units.uj_text(1234.0), "1.23 mJ"),
        (lambda: units.uj_text(12.3), "0.0123 mJ"),
        (lambda: units.khz_text(1_500_000), "1.50 GHz"),
        (lambda: units.khz_text(600_000), "600 MHz"),
        (lambda: units.celsius_text(48.312), "48.3 C"),
        (lambda: units.db_text(33.04), "33.0 dB"),
        (lambda: units.db_text(200), "exact"),
    ],
)
def test_the_other_units(call, text):
    assert call() == text


@given(FINITE)
def test_all_texts_are_ascii(value):
    made = (units.ms_text, units.bytes_text, units.mw_text, units.uj_text, units.khz_text, units.celsius_text)
    assert all(make(value).isascii() for make in made)


def test_nanoseconds():
    assert units.ns_to_ms(1_500_000) == 1.5
