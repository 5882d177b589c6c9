"""The offset of a device's clock, bounded by round trips."""

import sys

import pytest

from edgekit.errors import CommandFailedError, ProtocolError
from edgekit.probes.clock import Offset, ask_offset, between

SHIFTED = "import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) + {})"


@pytest.mark.parametrize("shift", [0, 10**12, -(10**9)])
def test_the_true_offset_lies_within_the_bounds(local, shift):
    found = ask_offset(local, [sys.executable, "-I", "-S", "-c", SHIFTED.format(shift)], trips=3)
    assert found.low_ns <= shift <= found.high_ns
    assert found.error_ns < 5e9
    assert abs(found.value_ns - shift) <= found.error_ns


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5e3", "9" * 30])
def test_what_is_no_time_is_refused(local, text):
    with pytest.raises(ProtocolError, match="is no time"):
        ask_offset(local, ["printf", "%s", text])


def test_times_that_go_backwards_are_refused(local, tmp_path):
    count = tmp_path / "count"
    count.write_text("9000000000000000000\n")
    script = 'read n <"$1"; echo "$n"; echo 1 >"$1"'
    with pytest.raises(ProtocolError, match="does not run as the host's"):
        ask_offset(local, ["sh", "-c", script, "sh", str(count)], trips=2)


def test_a_clock_that_can_not_be_asked(local):
    with pytest.raises(CommandFailedError):
        ask_offset(local, ["false"])


def test_between_two_both_bounds_are_taken_wide():
    found = between(Offset(low_ns=-5, high_ns=10), Offset(low_ns=0, high_ns=30))
    assert (found.low_ns, found.high_ns) == (-5, 30)
    assert (found.value_ns, found.error_ns) == (12.5, 17.5)
