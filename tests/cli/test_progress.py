"""Progress: a bar in a terminal, plain lines for what is done elsewhere, nothing on stdout."""

import os
import pty
import subprocess
import sys

import pytest

from edgekit.cli.progress import Progress, steps_shown
from edgekit.convert import Step

SCRIPT = """
from edgekit.cli.progress import Progress
with Progress() as progress:
    progress.step("one thing")
    progress.step("many things", done=1, total=4)
    progress.note("one thing is done [1/2]")
    progress.step("many things", done=4, total=4)
print("the result")
"""


def in_terminal(script):
    """Run a script with a terminal for its errors; return stdout and what the terminal got."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm"}
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        out = process.stdout.read()
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    return out.decode(), shown.decode()


def test_a_terminal_sees_a_bar_and_what_is_done():
    out, shown = in_terminal(SCRIPT)
    assert out == "the result\n"
    assert "one thing" in shown
    assert "many things" in shown
    assert "one thing is done [1/2]" in shown
    assert "\x1b[" in shown
    assert "\x1b[?25h" in shown, "the cursor is given back"


def test_elsewhere_only_what_is_done_is_a_line(capsys):
    with Progress() as progress:
        progress.step("now")
        progress.note("done [x]")
    captured = capsys.readouterr()
    assert captured.err == "  done [x]\n"
    assert captured.out == ""


def test_quiet_shows_nothing(capsys):
    with Progress(quiet=True) as progress:
        progress.step("now", done=1, total=2)
        progress.note("done")
    assert capsys.readouterr() == ("", "")


def test_an_error_inside_goes_on():
    def divide():
        with Progress() as progress:
            progress.step("x")
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        divide()


def test_steps_note_the_ends_of_one_phase(capsys):
    with Progress() as progress:
        show = steps_shown(progress, finished=("convert",))
        for phase in ("convert", "prove"):
            show(Step(recipe="onnx-fp32", phase=phase))
            show(Step(recipe="onnx-fp32", phase=phase, seconds=1.26))
    assert capsys.readouterr().err == "  convert onnx-fp32 (1.3 s)\n"
