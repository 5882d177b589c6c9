"""Command lines: whatever the arguments are, a shell hands them on as they are."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runners.transport.base import CommandResult, command_line
from edgekit.runners.transport.command import (
    KILL,
    MARK,
    apart,
    encoded,
    kill_line,
    marked,
    results_of,
    together,
)

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]) + b'\\0')"
SHELL_SHOW = ["sh", "-c", 'for a; do printf "%s\\0" "$a"; done', "sh"]
ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# what shells make something of, more often than chance would bring it
NASTY = st.text(st.sampled_from(list("'\"\\$`!#*?[]{}()<>|&;~ \t\n\r-=%^éß日🚀")), max_size=12)


def sh(line: str) -> bytes:
    return subprocess.run(["sh", "-c", encoded(line)], capture_output=True, check=True).stdout


@settings(max_examples=150, deadline=None)
@given(st.lists(ARGUMENT | NASTY, max_size=8))
def test_any_argument_survives_sh(arguments: list[str]) -> None:
    shown = sh(marked(command_line([*SHELL_SHOW, *arguments]), "0123"))
    assert shown == b"".join(a.encode() + b"\0" for a in arguments)


@settings(max_examples=60, deadline=None)
@given(ARGUMENT | NASTY)
def test_any_value_of_a_variable_survives_sh(value: str) -> None:
    assert sh(command_line(["sh", "-c", 'printf "%s" "$NAME"'], env={"NAME": value})) == value.encode()


@settings(max_examples=60, deadline=None)
@given(ARGUMENT | NASTY)
def test_a_line_in_a_line_survives(argument: str) -> None:
    inner = command_line([*SHELL_SHOW, argument])
    assert sh(command_line(["sh", "-c", inner])) == argument.encode() + b"\0"


def test_a_foreign_file_name_is_what_it_was() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert sh(command_line([sys.executable, "-c", SHOW, name])) == b"caf\xe9\0"


@pytest.mark.parametrize(
    ("argv", "env", "reason"),
    [
        ("echo hello", None, "sequence"),
        ([], None, "sequence"),
        (["echo", "a\0b"], None, "NUL"),
        (["echo", "\ud800"], None, "no text"),
        (["echo"], {"a b": "1"}, "can't name a variable"),
        (["echo"], {"A": "\0"}, "NUL"),
    ],
)
def test_what_is_no_command_is_refused(argv: list[str], env: dict[str, str] | None, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        command_line(argv, env=env)


def test_a_folder_that_cannot_be_entered_runs_nothing() -> None:
    line = command_line(["echo", "ran"], cwd="/no/such/folder", env={"A": "1"})
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert done.returncode != 0
    assert done.stdout == b""


def test_the_killer_spares_itself() -> None:
    """It looks at environments and command lines, its own among them."""
    mark = secrets.token_hex(8)
    victim = subprocess.Popen(["sh", "-c", marked("sleep 600; true", mark)], start_new_session=True)
    assert subprocess.run(["sh", "-c", kill_line(mark)], check=False).returncode == 0
    assert victim.wait(timeout=30) == -9


def test_what_is_killed_does_not_come_to_its_next_command(tmp_path: Path) -> None:
    """However slow the killer is between one process and the next."""
    mark, ran = secrets.token_hex(8), tmp_path / "ran"
    line = marked(f"echo started; sleep 600; echo >{shlex.quote(str(ran))}", mark)
    slow = 'kill() { command kill "$@"; c=$?; sleep 0.3; return $c; }\n' + KILL
    pattern = f"{MARK}=[{mark[0]}]{mark[1:]}"
    with subprocess.Popen(["sh", "-c", line], start_new_session=True, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"started\n"
        assert subprocess.run(["sh", "-c", slow, "sh", pattern], check=False).returncode == 0
        assert victim.wait(timeout=30) == -9
    assert not ran.exists()


def test_the_tail_is_of_the_stream_that_tells_more() -> None:
    lines = "\n".join(str(n) for n in range(20)).encode()
    told = CommandResult(argv=("x",), exit_code=1, stdout=b"out", stderr=lines, duration_s=0.0)
    silent = CommandResult(argv=("x",), exit_code=1, stdout=lines, stderr=b" \n", duration_s=0.0)
    assert told.tail == silent.tail == "\n".join(str(n) for n in range(10, 20))
    assert (
        CommandResult(argv=("x",), exit_code=0, stdout=b"\xff", stderr=b"", duration_s=0.0).text == "\ufffd"
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40).filter(lambda b: b"\0" not in b))))
def test_what_several_commands_told_is_taken_apart(parts: list[tuple[int, bytes]]) -> None:
    told = b"".join(out + b"00ff:%d\n" % code for code, out in parts)
    if parts:
        assert apart(told, "00ff") == parts
        assert apart(told, "00ff")[0][0] == parts[0][0]
    for broken in (told + b"more", told[:-1]):
        with pytest.raises(ValueError, match="does not end"):
            apart(broken, "00ff")


def test_the_first_that_fails_is_the_last() -> None:
    told = sh(together(["echo a", "echo b; exit 3", "echo c"], "00ff"))
    assert apart(told, "00ff") == [(0, b"a\n"), (3, b"b\n")]


def test_one_that_is_killed_tells_by_what() -> None:
    line = command_line(["sh", "-c", "kill -9 $$"])
    assert apart(sh(together([line], "00ff")), "00ff") == [(137, b"")]


@pytest.mark.parametrize(
    ("out", "err"),
    [
        (b"", b""),
        (b"a\nm:0\n", b"m:0\n"),  # one of two, and it did not fail
        (b"am:0\nm:0\n", b"m:0\n"),
        (b"m:0\nm:1\n", b"m:0\nm:0\n"),
        (b"m:0\n" * 3, b"m:0\n" * 3),
        (b"m:0\nm:0\nwhat?", b"m:0\nm:0\n"),
    ],
)
def test_what_is_no_answer_of_two_commands_is_refused(out: bytes, err: bytes) -> None:
    with pytest.raises(ValueError, match=r"commands|exit code"):
        results_of([["a"], ["b"]], [out, err], "m", 0.1)
    told = results_of([["a"], ["b"]], [b"m:4\n", b"why\nm:4\n"], "m", 0.1)
    assert [(one.exit_code, one.stderr) for one in told] == [(4, b"why\n")]
