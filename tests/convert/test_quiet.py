"""The frameworks' chatter is kept away, our own lines are not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings

import pytest

from edgekit.source.quiet import quiet


def test_lines_written_past_python_are_kept_away(capfd):
    with quiet() as chatter:
        os.write(2, b"I0000 00:00 from C++\n")
        with quiet():
            os.write(2, b"nested\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    assert "from C++" in chatter.text
    assert "nested" in chatter.text


def test_the_state_is_given_back_after_an_error():
    level, before = logging.getLogger("absl").level, sys.stderr
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert logging.getLogger("absl").level == level
    assert sys.stderr is before


def test_warnings_of_libraries_are_kept_away():
    with quiet():
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


def test_our_own_lines_still_reach_the_terminal():
    script = (
        "import os, sys\nfrom edgekit.source.quiet import quiet\n"
        "with quiet():\n print('ours', file=sys.stderr)\n os.write(2, b'theirs')\n"
        "print('after', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "ours\nafter\n"
