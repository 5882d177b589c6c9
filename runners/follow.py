"""Following a pass on a device: started detached, read from its spool, over as many links as it takes."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.errors import (
    DeviceError,
    DeviceLostError,
    DeviceTimeoutError,
    ProtocolError,
    StableDeviceError,
    TransientDeviceError,
)
from edgekit.runners.lines import MAX_LINE_BYTES, parse_line
from edgekit.runners.transport.command import start_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from edgekit.runners.transport import Transport

T = TypeVar("T")
_READ_BYTES = 1 << 20
MAX_SPOOL_BYTES = 512 << 20
"""More than any pass tells: a million samples are a hundredth of it."""
_FIRST_POLL_S, _LAST_POLL_S, _POLL_GROWTH = 0.05, 1.0, 1.4
_RETRY_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_LOOK_EVERY = 3
_LOG_BYTES = 2000
_BEGIN_S, _LEAVE_S, _SLACK_S = 20.0, 10.0, 1.0
# $0 is the pass's path without its ending. Who writes its process id first runs; a second start does not.
_BOOT = "/proc/sys/kernel/random/boot_id"
_RUN = f'set -C; echo $$ >"$0.pid" || exit 75; cat {_BOOT} >"$0.boot" 2>/dev/null; "$@"; echo $? >"$0.rc"'
_LONG = 999999999
# $1 is the pass's path without its ending. One word for what the process is, then its exit code, which is
# looked for when it is seen to be no more: it may have ended between two looks. With "absent" it is for how
# many seconds the device has been up: a power cut takes the files along that were not on the disk yet.
_STATE = rf"""
if [ ! -s "$1.pid" ] && [ ! -s "$1.rc" ]; then
  {{ read -r up _ </proc/uptime; }} 2>/dev/null || up={_LONG}
  echo "absent ${{up%.*}}"
elif [ ! -s "$1.pid" ]; then echo "ended $(cat "$1.rc")"
elif if [ -e /proc/self/cmdline ]; then tr '\000' ' ' <"/proc/$(cat "$1.pid")/cmdline"
  else ps -ww -o command= -p "$(cat "$1.pid")"; fi 2>/dev/null | grep -qF -- "$1"; then
  echo "alive $(cat "$1.pid")"
elif [ -s "$1.rc" ]; then echo "ended $(cat "$1.rc")"
elif [ -s "$1.boot" ] && [ "$(cat "$1.boot")" != "$(cat {_BOOT})" ]; then echo "rebooted 0"
elif [ "$(df -Pk "$1.json" 2>/dev/null | tail -n 1 | tr -s ' ' | cut -d' ' -f4)" = 0 ]; then echo "full 0"
else echo "gone 0"; fi
"""
_STATES = ("alive", "ended", "gone", "absent", "rebooted", "full")

END_OF_IT = r"""
of_pass() {
  if [ -e /proc/self/cmdline ]; then grep -lF -- "$1.json" /proc/[0-9]*/cmdline
  else ps -axww -o pid= -o command= | grep -F -- "$1.json" |
    sed -n '/^ *[0-9]* grep /!s,^ *\([0-9]*\).*,\1,p'; fi
}
stop_pass() {
  for s in 15 9; do
    tries=0
    while alive=; for c in $(of_pass "$1" 2>/dev/null); do
      case $c in /*) [ -e "$c" ] || continue ;; esac
      c=${c#/proc/}
      kill -$s "${c%/cmdline}" 2>/dev/null && alive=1
    done; [ -n "$alive" ] && [ "$tries" -lt 20 ]; do
      tries=$((tries+1)); sleep 0.1 2>/dev/null || { sleep 1; tries=$((tries+9)); }
    done
  done
}
"""
"""A function of sh: ends whatever has a pass's job in its command line. $1 is its path, as above.

A program that is told to end tells what it has measured; one that does not listen is killed 2 s later.
"""


@dataclass(slots=True, kw_only=True)
class Pass:
    """One pass on its way: where it lies on the device, and how far it was read.

    Attributes:
        transport: the way to the device; opened again when its link is lost.
        path: of the pass's files there, without their endings (.jsonl .json .log .pid .rc).
        name: "memory" or "latency".
        run_id: what its lines have to call themselves.
        runs: how many samples it may tell at most.
        deadline_s: seconds after which it is given up.
        on_poll: called between two looks at the spool; what it raises ends the pass.
        launch: starts the command that it is given, with all that has to be there before it; it is told
            how often this was tried before, on links that were lost. None where all is there.
    """

    transport: Transport
    path: str
    name: str
    run_id: str
    runs: int
    deadline_s: float
    on_poll: Callable[[], None] = lambda: None
    launch: Callable[[Sequence[str], int], None] | None = None
    _offset: int = 0
    _rest: bytes = b""
    _told: int = 0
    _samples: int = 0
    _over: bool = False
    _gone: bool = False
    _begin: float = 0.0
    _heard: float = 0.0

    def follow(self, argv: Sequence[str], env: Mapping[str, str]) -> Generator[dict[str, Any]]:
        """Start the pass and yield its events as they come, the last one being its end or its error.

        Whatever ends this before the pass is over kills it there.

        Args:
            argv: the program and its arguments.
            env: variables for it.

        Raises:
            ProtocolError: what it tells is none of the protocol's.
            DeviceTimeoutError: the deadline passed.
            StableDeviceError: it died without an end; the evidence says how.
            TransientDeviceError: the link was lost and did not come back.
        """
        self._begin = self._heard = time.monotonic()
        try:
            self._start(argv, env)
            pause, idle = _FIRST_POLL_S, 0
            while not self._over:
                data = self._read()
                yield from self._events_of(data)
                idle = 0 if data else idle + 1
                if idle and idle % _LOOK_EVERY == 0:
                    yield from self._unless_alive()
                if not self._over and not (data and self._rest):
                    self._check_deadline()
                    self._keep_trying(self.on_poll)
                    time.sleep(pause)
                    pause = min(pause * _POLL_GROWTH, _LAST_POLL_S)
            self._wait_gone()
        except KeyboardInterrupt:
            yield from self._ended_by_us()
            raise
        finally:
            if not self._gone:
                self._kill()

    def _ended_by_us(self) -> Iterator[dict[str, Any]]:
        """Kill the pass and yield what it told meanwhile, as far as the link allows."""
        self._kill()
        self._gone = True
        with contextlib.suppress(DeviceError, ProtocolError):
            while data := self._read():
                yield from self._events_of(data)

    def _start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start the pass once, even if the link is lost while that is done."""
        tries = itertools.count()

        def start() -> None:
            before = next(tries)
            if before and self._state()[0] != "absent":
                return
            line = start_argv(["sh", "-c", _RUN, self.path, *argv], log=f"{self.path}.log", env=env)
            if self.launch is None:
                self.transport.check(line)
            else:
                self.launch(line, before)

        self._keep_trying(start)

    def _read(self) -> bytes:
        """Return what the spool holds beyond what was read, a part of it at most."""
        spool = f"{self.path}.jsonl"
        data = self._keep_trying(lambda: self.transport.read_from(spool, self._offset, limit=_READ_BYTES))
        self._offset += len(data)
        if data:
            self._heard = time.monotonic()
        if self._offset > MAX_SPOOL_BYTES:
            raise self._foreign(f"more than {MAX_SPOOL_BYTES >> 20} MiB")
        return data

    def left(self) -> Generator[dict[str, Any]]:
        """Yield what a pass told that somebody else started, ending nothing; half a line is left out.

        Raises:
            ProtocolError: it is none of the protocol's, or not this run's.
            TransientDeviceError: the link was lost and did not come back.
        """
        while data := self._read():
            yield from self._events_of(data)

    def state(self) -> str:
        """Return what its process is: "alive", "ended", "absent" (it never began), or why it is no more.

        That is "gone", "rebooted" (the device) or "full" (its disk).
        """
        return self._keep_trying(self._state)[0]

    def _events_of(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events of all lines that this completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._accept(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._parsed(self._rest)

    def _accept(self, line: bytes) -> dict[str, Any]:
        """Return a line's event, held against what came before it."""
        event = self._parsed(line)
        name, first = event["e"], self._told == 0
        self._told += 1
        if self._over:
            raise self._foreign(f"{name!r} after the end")
        if event["pass"] != self.name or (first and name not in {"hello", "error"}):
            raise self._foreign(f"{name!r} of the pass {event['pass']!r}")
        if name == "hello" and (not first or event["run"] != self.run_id):
            raise self._foreign(f"a greeting of the run {event['run']!r}")
        if name == "samples":
            self._samples += len(event["ns"])
        if self._samples > self.runs or (
            name == "end" and self.name == "latency" and event["count"] != self._samples
        ):
            raise self._foreign(f"{self._samples} samples")
        self._over = name in {"end", "error"}
        return event

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            return parse_line(line)
        except ProtocolError as error:
            what = f"{self.transport.device.address}: {error.what}"
            raise ProtocolError(what, hint=error.hint, evidence=error.evidence) from error

    def _unless_alive(self) -> Iterator[dict[str, Any]]:
        """Yield what a process that is no more has left; raise when that is no end."""
        state, code = self._keep_trying(self._state)
        since = time.monotonic() - self._begin
        if state == "absent":
            state, code = ("rebooted" if code + _SLACK_S < since else state), 0
        if state == "alive" or (state == "absent" and since < _BEGIN_S):
            return
        while data := self._read():
            yield from self._events_of(data)
        if self._over:
            return
        log = self._keep_trying(self._log)
        what = f"the {self.name} pass {_how(state, code)} before its end"
        if self._rest:
            raise ProtocolError(
                f"{self.transport.device.address}: {what}, in the middle of a line",
                hint="look at the evidence",
                evidence=f"{self._rest[-200:].decode('utf-8', 'replace')}\n{log}",
            )
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "")
        shown = f"{what}: {last[:200]}" if last else what
        folder = self.path.rpartition("/")[0]
        hint = _HINTS.get((state, code), _HINTS[state, 0]).format(folder=folder)
        raise StableDeviceError(self.transport.device.address, shown, hint=hint, evidence=log)

    def _state(self) -> tuple[str, int]:
        """Return ("alive", pid), ("ended", exit code) or (another of `_STATES`, 0)."""
        told = self.transport.check(["sh", "-c", _STATE, "sh", self.path]).text.split()
        if len(told) != 2 or told[0] not in _STATES or not told[1].isdigit():  # noqa: PLR2004
            raise self._foreign(f"{' '.join(told)[:80]!r} about its process")
        return told[0], int(told[1])

    def _wait_gone(self) -> None:
        """Wait until the process is no more, so that it does not run beside the next pass."""
        end = time.monotonic() + _LEAVE_S
        while time.monotonic() < end:
            if self._keep_trying(self._state)[0] != "alive":
                self._gone = True
                return
            time.sleep(_FIRST_POLL_S)

    def _log(self) -> str:
        argv = ["tail", "-c", str(_LOG_BYTES), f"{self.path}.log"]
        return self.transport.run(argv).stdout.decode("utf-8", "replace")

    def _kill(self) -> None:
        """Kill the pass there, as far as the link allows."""
        try:
            self._keep_trying(self._kill_once, tries=2)
        except DeviceError:
            return

    def _kill_once(self) -> None:
        state, pid = self._state()
        if state not in {"ended", "absent"}:
            self.transport.run(["sh", "-c", f'{END_OF_IT}stop_pass "$1"', "sh", self.path])
        if state == "alive":
            self.transport.kill_group(pid)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._begin + self.deadline_s:
            silent = time.monotonic() - self._heard
            raise DeviceTimeoutError(
                self.transport.device.address,
                f"the {self.name} pass has not ended within {self.deadline_s:g} s; it last told something "
                f"{silent:.0f} s ago",
                hint="ask for fewer runs, or allow it more time",
                evidence=self._log(),
            )

    def _foreign(self, what: str) -> ProtocolError:
        return ProtocolError(
            f"{self.transport.device.address}: the {self.name} pass told {what}",
            hint="something else writes to its spool, or its program is another",
        )

    def _keep_trying(self, call: Callable[[], T], *, tries: int = len(_RETRY_S)) -> T:
        """Call; when the link is lost, open it again and call once more, a few times."""
        lost: TransientDeviceError | None = None
        for wait in _RETRY_S[:tries]:
            try:
                if lost is not None or not self.transport.is_open:
                    time.sleep(wait)
                    self.transport.reopen()
                return call()
            except (DeviceLostError, DeviceTimeoutError) as error:
                lost = error
        assert lost is not None  # noqa: S101 - the loop runs at least once
        raise lost


def last_of(stream: Generator[T]) -> Iterator[T]:
    """Break off what yields a pass's events, as ctrl-C does, and yield what was told meanwhile."""
    with contextlib.suppress(KeyboardInterrupt, StopIteration):
        yield stream.throw(KeyboardInterrupt)
        yield from stream


_LIES = "what it left lies in {folder} there"
_HINTS = {
    ("ended", 0): _LIES,
    ("ended", 128 + signal.SIGKILL): f"look for the out-of-memory killer in its kernel's log; {_LIES}",
    ("gone", 0): _LIES,
    ("absent", 0): "look at its load, then try again",
    ("rebooted", 0): f"look at its power and its heat; {_LIES}",
    ("full", 0): f"free some space there; {_LIES}",
}
_WAYS = {
    "gone": "vanished",
    "absent": "never began",
    "rebooted": "was ended by the device's restart",
    "full": "broke off on a full disk",
}


def _how(state: str, code: int) -> str:
    return how_ended(code) if state == "ended" else _WAYS[state]


def how_ended(code: int) -> str:
    """Return what an exit code says, in words: 139 -> "was killed by SIGSEGV"."""
    if code > 128:  # noqa: PLR2004
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = f"signal {code - 128}"
        return f"was killed by {name}"
    return f"ended with {code}"
