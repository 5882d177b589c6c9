"""A tool of the user's own as a runtime: found or brought, run like a pass, its output read on the host.

Nothing of EdgeKit's runs beside it on the device, so a phone needs no Python for it either. Its output is
read when it has ended, and what it says becomes the events that EdgeKit's own programs tell, as far as it
goes: what a tool does not tell is not in the record. It takes no golden inputs, so nothing proves what it
puts out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import digest
from edgekit.errors import DeviceUnfitError, ProtocolError, StableDeviceError, UsageError
from edgekit.runners.elf import read_needs
from edgekit.runners.follow import Pass, _how
from edgekit.runners.lines import PROTOCOL
from edgekit.runners.provision import Prepared
from edgekit.runners.runtime.base import ToolJob

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from edgekit.runners.depot import Depot
    from edgekit.runners.facts import Facts
    from edgekit.runners.runner import Job
    from edgekit.runners.runtime import Runtime
    from edgekit.runners.runtime.base import Told
    from edgekit.runners.transport import Transport

ON_DEVICE = "device:"
"""Stands before the path of a program that lies on the device."""
_PIECE = 1 << 20
_MAX_OUTPUT_BYTES = 4 << 20
_MAX_RESULT_BYTES = 64 << 20
_ROW_BYTES = 400
_BEGIN_S = 20.0
_TAIL = 2000
_FIND = 'p=$(command -v -- "$1") && [ -x "$p" ] && echo "$p"'
# $0 is the pass's path without its ending. Whoever has to end the pass looks for "$0.json" in command lines.
_RUN = 'ln -sf -- "$1" "$2" && shift 2 && exec "$@" >"$0.out" 2>&1 </dev/null'


def prepare_tool(
    transport: Transport, facts: Facts, runtime: Runtime, depot: Depot, binary: str = ""
) -> Prepared:
    """Find the user's program on the device, or bring it there under its sha256.

    Args:
        transport: an open way to the device.
        facts: what the device is.
        runtime: the tool.
        depot: EdgeKit's folder there.
        binary: as in RuntimeWish; "" looks for the tool's name on the device's PATH.

    Raises:
        UsageError: there is no such file on this host.
        DeviceUnfitError: there is no such program on the device, or it is built for another machine.
    """
    address = transport.device.address
    local = local_program(binary)
    if local is not None:
        machine = _machine(local)
        if machine and facts.system in {"linux", "android"} and machine not in {facts.abi, facts.machine}:
            what = f"{local.name} is built for {machine}, and the device is {facts.abi}"
            raise DeviceUnfitError(address, what, hint=f"build {runtime.name} for the device")
        sha256, _ = digest(local)
        path = depot.put(local, sha256)
        transport.check(["chmod", "700", path])
    else:
        path = _found(transport, binary.removeprefix(ON_DEVICE) or runtime.name)
        sha256 = transport.sha256(path)
    return Prepared(site=(), version=f"sha256 {sha256[:12]}", build=None, command=(path,))


def local_program(binary: str) -> Path | None:
    """Return the file that is brought from this host; None for a program that is on the device.

    Args:
        binary: as in RuntimeWish.

    Raises:
        UsageError: there is no such file.
    """
    if not binary or binary.startswith(ON_DEVICE):
        return None
    local = Path(binary).expanduser()
    if not local.is_file():
        hint = f"give a file of this host, or {ON_DEVICE}PATH for one that lies on the device"
        raise UsageError(f"{binary} is no file", hint=hint)
    return local


def _machine(local: Path) -> str:
    """Return the machine that a program is built for, in uname's words, or "" where it is no ELF file."""
    try:
        return read_needs(local.read_bytes()).machine
    except UsageError:
        return ""


def _found(transport: Transport, name: str) -> str:
    found = transport.run(["sh", "-c", _FIND, "sh", name])
    path = found.text.strip()
    if found.exit_code or not path.startswith("/"):
        what = f"there is no program {name} that can be run there"
        hint = f"bring one of this host with --runtime-binary FILE, or name it: {ON_DEVICE}PATH"
        raise DeviceUnfitError(transport.device.address, what, hint=hint, evidence=found.tail)
    return path


@dataclass(slots=True, kw_only=True)
class ToolPass(Pass):
    """A tool on its way, followed like any pass: through lost links, to its deadline, and killed after it.

    Attributes:
        runtime: the tool.
        job: what it was asked to do.
        version: of the tool, for the record.
    """

    runtime: Runtime
    job: ToolJob
    version: str
    _output: bytes = b""

    def play(
        self, command: Sequence[str], artifact: str, cpus: Sequence[int] = ()
    ) -> Generator[dict[str, Any]]:
        """Run the tool and yield what it says, when it has ended.

        Args:
            command: the tool on the device.
            artifact: where the artifact lies there; `job.artifact` becomes a link to it.
            cpus: numbers of the CPUs to keep to, by the device's own taskset; empty for all.

        Raises:
            StableDeviceError: it died, or used another number of threads.
            ProtocolError: what it says can't be read.
            DeviceError: as `follow`.
        """
        assert self.runtime.tool is not None  # noqa: S101 - only tools come here
        mask = ("taskset", format(sum(1 << cpu for cpu in set(cpus)), "x")) if cpus else ()
        argv = [*mask, *command, *self.runtime.tool.argv(self.job)]
        return self.follow(["sh", "-c", _RUN, self.path, artifact, self.job.artifact, *argv], {})

    def _read(self) -> bytes:
        """Return what it printed beyond what was read. It is no spool, and no file of a spool's name."""
        path = f"{self.path}.out"
        data = self._keep_trying(lambda: self.transport.read_from(path, self._offset, limit=_PIECE))
        self._offset += len(data)
        return data

    def _events_of(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Keep what it printed; nothing is told before it has ended."""
        self._output += data
        if len(self._output) > _MAX_OUTPUT_BYTES:
            raise self._unread(f"it printed more than {_MAX_OUTPUT_BYTES >> 20} MiB")
        return iter(())

    def _unless_alive(self) -> Iterator[dict[str, Any]]:
        """Yield what it says once it has ended; raise when it died."""
        state, code = self._keep_trying(self._state)
        if state == "alive" or (state == "absent" and time.monotonic() < self._begin + _BEGIN_S):
            return
        while data := self._read():
            self._events_of(data)
        if state != "ended" or code:
            raise self._died(state, code)
        yield from self._said()
        self._over = True

    def _died(self, state: str, code: int) -> StableDeviceError:
        evidence = self._text()[-_TAIL:] or self._keep_trying(self._log)
        last = next((line for line in reversed(evidence.splitlines()) if line.strip()), "it said nothing")
        what = f"{self.runtime.name} {_how(state, code)}: {_printable(last)[:200]}"
        hint = f"try it there by hand; what it left lies in {self.path.rpartition('/')[0]}"
        return StableDeviceError(self.transport.device.address, what, hint=hint, evidence=evidence)

    def _said(self) -> Iterator[dict[str, Any]]:
        assert self.runtime.tool is not None  # noqa: S101
        try:
            told = self.runtime.tool.read(self._text(), self._result(), self.job)
        except (ValueError, OverflowError) as error:
            raise self._unread(str(error)) from error
        if told.threads != self.job.threads:
            what = f"{self.runtime.name} used {told.threads} threads, {self.job.threads} were asked for"
            raise StableDeviceError(self.transport.device.address, what, hint="use another build of it")
        for event in self._events(told):
            yield {"pass": self.name, "t": 0, **event}

    def _events(self, told: Told) -> Iterator[dict[str, Any]]:
        """Yield what it told as the protocol's events, and "told" for the rest."""
        name, done = self.runtime.name, told.count >= self.job.runs
        yield {
            "e": "hello", "protocol": PROTOCOL, "run": self.run_id, "pid": 0, "program": name,
            "runtime": name, "version": self.version, "threads": told.threads,
        }  # fmt: skip
        for key in ("load", "first"):
            if (ns := getattr(told, f"{key}_ns")) is not None:
                yield {"e": key, "ns": ns}
        yield {"e": "warmup", "ns": list(told.warmup_ns)}
        if told.samples_ns:
            yield {"e": "samples", "ns": list(told.samples_ns)}
        yield {"e": "told", "figures": {"tool": name, **told.figures}}
        yield {"e": "end", "reason": "done" if done else "limit", "count": told.count}

    def _result(self) -> str:
        """Return the file that it wrote beside its output, or "" where there is none."""
        most = min(_MAX_RESULT_BYTES, _ROW_BYTES * (self.job.runs + self.job.warmup) + _PIECE)
        found = b""
        while piece := self._piece(len(found)):
            found += piece
            if len(found) > most:
                raise self._unread(f"its result file has more than {most} bytes")
        return found.decode("utf-8", "replace")

    def _piece(self, offset: int) -> bytes:
        return self._keep_trying(lambda: self.transport.read_from(self.job.result, offset, limit=_PIECE))

    def _text(self) -> str:
        return self._output.decode("utf-8", "replace").replace("\r\n", "\n")

    def _unread(self, why: str) -> ProtocolError:
        what = f"what {self.runtime.name} printed can't be read: {_printable(why)[:300]}"
        return ProtocolError(
            f"{self.transport.device.address}: {what}",
            hint="look at the evidence; its release may print in another way",
            evidence=self._text()[-_TAIL:],
        )


def tool_pass(one: Pass, runtime: Runtime, job: Job, version: str) -> ToolPass:
    """Return a pass as that of a tool, whose artifact and result lie beside it there."""
    assert runtime.formats  # noqa: S101 - a tool knows an artifact by its ending
    asked = ToolJob(
        artifact=f"{one.path}.json.{runtime.formats[0]}",
        result=f"{one.path}.json.csv",
        threads=job.threads,
        warmup=job.warmup,
        runs=job.runs,
        max_s=job.max_s,
        period_s=job.period_s,
    )
    same = {field.name: getattr(one, field.name) for field in fields(Pass)}
    return ToolPass(**same, runtime=runtime, job=asked, version=version)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
