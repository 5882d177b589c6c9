"""A command for a device: the line that runs it and nothing else, and what it came to."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "EDGEKIT_MARK"
_TAIL_LINES = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# The sha256 of standard input, of about $1 bytes. Where there is much, OpenSSL's is several times as fast as
# coreutils' own, for it uses what the processor has; that it works is tried. macOS calls it shasum.
DIGEST = r"""digest() {
  case $([ "$1" -lt 2000000 ] || openssl dgst -sha256 -r </dev/null 2>/dev/null) in
    e3b0c44298fc1c14*) openssl dgst -sha256 -r ;;
    *) if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi ;;
  esac
}"""

# What carries the mark in its environment, or (a shell that has yet to set it) in its command line, is killed
# until two looks in a row find nothing: a process may fork between two looks, or be about to become ours. The
# pattern $1 does not match its own text, so the killer spares itself. All are stopped before one is killed: a
# shell whose command dies would go on with its next. A Mac has no /proc; its ps tells both.
KILL = r"""n=0; clean=0
marked() {
  if [ -e /proc/self/environ ]; then grep -ls "$1" /proc/[0-9]*/environ /proc/[0-9]*/cmdline
  else ps -axwwE -o pid= -o command= | grep -- "$1" | sed 's,^ *\([0-9]*\).*,/proc/\1/,'; fi
}
while [ $n -lt 30 ]; do
  n=$((n+1)); found=; all=$(marked "$1")
  for s in STOP KILL; do
    for f in $all; do p=${f#/proc/}; kill -$s ${p%%/*} 2>/dev/null && found=1; done
  done
  if [ "$found" ]; then clean=0; else clean=$((clean+1)); fi
  [ $clean -lt 2 ] || exit 0
  sleep 0.1 2>/dev/null || sleep 1
done
exit 1"""

# $1 is the log, $2 the line. The log is tried where its failure can still be told; the process says its own
# id after setsid, so that it is its group's too; $(...) ends when it has let go of its standard output. A Mac
# has no setsid, but a Perl that does the same.
START = """umask 077
: >"$1" || exit 1
command -v setsid >/dev/null || setsid() { exec perl -e 'use POSIX; setsid(); exec @ARGV' -- "$@"; }
pid=$(setsid nohup sh -c 'echo $$; exec >"$0" 2>&1 </dev/null; eval "$1"' "$1" "$2" &)
[ "$pid" ] && echo "$pid\""""


def start_argv(
    argv: Sequence[str], *, log: str, env: Mapping[str, str] | None = None, cwd: str = ""
) -> list[str]:
    """Return the command that starts another one as Transport.start does, and tells its process id."""
    return ["sh", "-c", START, "sh", log, command_line(argv, env=env, cwd=cwd)]


# At most $3 bytes of the file $1, the first of them being its $2th.
READ = """[ -e "$1" ] || exit 0
[ -f "$1" ] || { echo "$1: no file" >&2; exit 1; }
exec <"$1" || exit 1
tail -c "+$2" | head -c "$3\""""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command on a device came to.

    Attributes:
        argv: what was run.
        exit_code: 0 to 255; 128 + N when signal N ended it.
        stdout: its standard output, byte for byte.
        stderr: its standard error, byte for byte.
        duration_s: as the host saw it, the link included.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    duration_s: float

    @property
    def text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last ten lines of standard error, or of standard output where there is none."""
        shown = (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")
        return "\n".join(shown.splitlines()[-_TAIL_LINES:])


def command_line(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str = "") -> str:
    """Return the line that makes any POSIX sh run this command and nothing else.

    Where the folder can't be entered or a variable not be set, the command is not run.

    Args:
        argv: program and arguments.
        env: variables added to its environment.
        cwd: the folder it starts in; empty for the login's own.

    Raises:
        UsageError: `argv` is a string or empty, something holds a NUL byte, or a variable's name is none.
    """
    if isinstance(argv, str) or not argv:
        raise UsageError("a command is a sequence of arguments", hint="pass ['program', 'argument']")
    variables = dict(env or {})
    for name in variables:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} can't name a variable", hint="use letters, digits and underscores")
    for part in (*argv, *variables.values(), cwd):
        _check_text(part)
    steps = [f"cd -- {shlex.quote(cwd)}"] if cwd else []
    if variables:
        steps.append(
            "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        )
    return " && ".join([*steps, f"exec {shlex.join(argv)}"])


def together(lines: Sequence[str], mark: str) -> str:
    """Return one line that runs several, each in a shell of its own, up to the first that fails.

    On both of its outputs each ends with its exit code behind the mark.

    Args:
        lines: what to run, in order.
        mark: hexadecimal digits that occur nowhere else.
    """
    say = f'printf "%s:%s\\n" {mark} "$c"; printf "%s:%s\\n" {mark} "$c" >&2; [ "$c" -eq 0 ] || exit 0'
    return "; ".join(f"({line}\n); c=$?; {say}" for line in lines)


def apart(told: bytes, mark: str) -> list[tuple[int, bytes]]:
    """Return the exit code and the output of each line that `together` ran, from one of its two outputs.

    Raises:
        ValueError: something stands behind the last one's end, or there is no end at all.
    """
    *parts, rest = re.split(rb"%s:(\d{1,3})\n" % mark.encode(), told)
    if rest or not parts:
        raise ValueError("the output of several commands does not end with an exit code")
    return [(int(code), out) for out, code in zip(parts[::2], parts[1::2], strict=True)]


def results_of(
    commands: Sequence[Sequence[str]], told: Sequence[bytes], mark: str, spent_s: float
) -> list[CommandResult]:
    """Return what each command came to that `together` ran, up to the first that failed.

    Args:
        commands: argv of each.
        told: standard output and standard error of the whole.
        mark: that of `together`.
        spent_s: seconds that all took.

    Raises:
        ValueError: this is not what these commands tell.
    """
    outs, errs = (apart(text, mark) for text in told)
    codes = [code for code, _ in outs]
    if codes != [code for code, _ in errs] or len(codes) > len(commands):
        raise ValueError("its two outputs do not tell the same of several commands")
    if len(codes) < len(commands) and codes[-1] == 0:
        raise ValueError(f"{len(codes)} of {len(commands)} commands answered")
    return [
        CommandResult(argv=tuple(argv), exit_code=code, stdout=out, stderr=err, duration_s=spent_s)
        for argv, (code, out), (_, err) in zip(commands, outs, errs, strict=False)
    ]


def marked(line: str, mark: str) -> str:
    """Return the line with a mark and English messages in its environment."""
    return f"{MARK}={mark} LC_MESSAGES=C; export {MARK} LC_MESSAGES; {line}"


def kill_line(mark: str) -> str:
    """Return the line that kills everything with this mark; it ends with 1 where something would not die."""
    pattern = f"{MARK}=[{mark[0]}]{mark[1:]}"
    return command_line(["sh", "-c", KILL, "sh", pattern])


def encoded(line: str) -> bytes:
    """Return a line as the bytes that go to the device: UTF-8, foreign file names as they were."""
    return line.encode("utf-8", "surrogateescape")


def _check_text(part: str) -> None:
    if "\0" in part:
        raise UsageError("an argument holds a NUL byte", hint="pass binary data through standard input")
    try:
        encoded(part)
    except UnicodeEncodeError:
        raise UsageError(f"{part!r} is no text that can be sent", hint="remove its lone surrogates") from None
