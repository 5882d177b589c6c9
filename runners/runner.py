"""A runner: a transport and a runtime, opened together on one device.

prepare: facts, lease, wheels, installation.  run: push by content, start detached, follow the spool.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from edgekit.errors import (
    CommandFailedError,
    DeviceBusyError,
    DeviceError,
    DeviceUnfitError,
    ProtocolError,
    StableDeviceError,
    UsageError,
)
from edgekit.runners.cores import cores_of
from edgekit.runners.depot import Depot
from edgekit.runners.facts import Facts, facts_argv, inspect, read_facts
from edgekit.runners.follow import Pass, last_of
from edgekit.runners.lease import LEASE_S, Lease
from edgekit.runners.lines import PASS_NAMES, PROTOCOL, parse_line
from edgekit.runners.mac import prepare_coreml, put_package
from edgekit.runners.provision import Prepared, prepare
from edgekit.runners.runtime import RuntimeWish
from edgekit.runners.state import recover
from edgekit.runners.state.recover import Left, left_of, look_argv
from edgekit.runners.tool import prepare_tool, tool_pass
from edgekit.targets import load_target, match_target

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgekit.runners.runtime import Runtime
    from edgekit.runners.transport import CommandResult, Transport
    from edgekit.targets import Target

    _Launch = Callable[[Sequence[str], int], None]

__all__ = ["Job", "Runner", "parse_line"]

_PREPARE_LEASE_S = 1800.0
_ARRIVE_S = 120.0
_NO_WISH = RuntimeWish()
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{3,63}")
# $1 how often this was tried before; one line of standard input for each of the files that are named then.
_WRITE = r"""
umask 077
tried=$1
shift
folder=${1%/*}
mkdir -p -- "${folder%/*}" || exit 1
[ "$tried" -gt 0 ] || [ ! -e "$folder" ] || { echo taken >&2; exit 1; }
mkdir -p -- "$folder" || exit 1
for f; do IFS= read -r line && printf '%s\n' "$line" >"$f" || exit 1; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to do with one artifact.

    Attributes:
        run_id: unique; also how the process is found again on the device.
        threads: how many the runtime is told to use.
        warmup: invocations before the timed ones.
        runs: timed invocations at most.
        max_s: seconds that the warm-up and the timed loop may each last.
        passes: which passes, in order.
        cpus: numbers of the CPUs to keep to; empty for all.
        period_s: from the beginning of a timed invocation to that of the next one; 0 is back to back.
        watch: what the power pass samples.
        profile: what the profile pass shall do.
        grace_s: seconds beside the two loops for loading, golden inputs and the link.
    """

    run_id: str
    threads: int = 1
    warmup: int = 10
    runs: int = 200
    max_s: float = 60.0
    passes: tuple[str, ...] = ("memory", "latency")
    cpus: tuple[int, ...] = ()
    period_s: float = 0.0
    watch: Mapping[str, Any] | None = None
    profile: Mapping[str, Any] | None = None
    grace_s: float = 300.0

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.run_id):
            raise UsageError(f"{self.run_id!r} can't name a run", hint="use 4 to 64 letters, digits, - _ .")
        if self.threads < 1 or self.runs < 1 or self.warmup < 0 or not 0 < self.max_s < 1e6:  # noqa: PLR2004
            raise UsageError("a job has threads and runs from 1 on, warmup from 0, max_s above 0")
        if not 0 <= self.period_s < self.max_s or any(cpu < 0 for cpu in self.cpus):
            raise UsageError("a job's period is from 0 to its max_s, and its CPUs have numbers from 0 on")
        if (
            not self.passes
            or len(set(self.passes)) < len(self.passes)
            or not set(self.passes) <= set(PASS_NAMES)
        ):
            raise UsageError(f"the passes are {self.passes}", hint=f"choose among {', '.join(PASS_NAMES)}")

    @property
    def deadline_s(self) -> float:
        """Seconds after which one pass is given up."""
        return 2 * self.max_s + self.grace_s


class Runner:
    """A transport and a runtime on one device; use it in a `with` statement.

    An open transport stays open behind it; a closed one is opened and closed again.

    Args:
        transport: the way to the device.
        runtime: what shall run there.
        program: "native", "python", or "auto": the native one where it can run.
        cache: where wheels are kept on the host; None for the user's own.
        wish: what is asked of the runtime itself.
        lease: one that outlives this runner; None for its own, which it gives back.
    """

    def __init__(
        self,
        transport: Transport,
        runtime: Runtime,
        *,
        program: str = "auto",
        cache: Path | None = None,
        wish: RuntimeWish = _NO_WISH,
        lease: Lease | None = None,
    ) -> None:
        self.transport = transport
        self.runtime = replace(runtime.released(wish.release), env=(*runtime.env, *wish.env()))
        self.wish = wish
        self.depot = Depot(transport)
        self._program = program
        self._cache = cache
        self._lease, self._lent = lease or Lease(transport), lease is not None
        self._opened = False
        self._facts: Facts | None = None
        self._prepared: Prepared | None = None

    def __enter__(self) -> Self:
        if not self.transport.is_open:
            self.transport.open()
            self._opened = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._lent:
            self._lease.give_back()
        if self._opened:
            self.transport.close()

    @property
    def facts(self) -> Facts:
        """What the device is; asked for once."""
        if self._facts is None:
            try:
                self._facts = inspect(self.transport, memory="use")
            except ProtocolError:  # what it remembers may be broken
                self._facts = inspect(self.transport, memory="renew")
        return self._facts

    @property
    def target(self) -> Target | None:
        """The kind of device it is: as its address says, else as its facts do; None when nothing fits."""
        named = self.transport.device.target
        return load_target(named) if named else match_target(self.facts.match())

    def prepare(self) -> Prepared:
        """Take the lease, restore what a host before left changed there, and bring the runtime; done once.

        Raises:
            DeviceBusyError: somebody else benches there.
            DeviceUnfitError: the device lacks something.
            UsageError: the wheels can't be had on this host.
        """
        if self._prepared is None:
            recover(self.transport, left=self._arrive())
            try:
                self._prepared = self._bring(self.facts)
            except DeviceUnfitError:
                if not self._has_changed():
                    raise
                self._prepared = self._bring(self.facts)
        return self._prepared

    def _arrive(self) -> Left:
        """Take the lease, look what was left there and what the device is, all in one round trip."""
        transport, device = self.transport, self.transport.device
        commands = [self._lease.argv(_PREPARE_LEASE_S), look_argv(transport)]
        if self._facts is None:
            commands.append(facts_argv(transport, "use"))
        lease, state, *facts = transport.check_all(commands, timeout_s=_ARRIVE_S)
        try:
            self._lease.accept(lease, _PREPARE_LEASE_S)
        except DeviceBusyError:  # a host that died holds its lease for longer than it may hold its state
            recover(transport, wait=False)
            raise
        for told in facts:
            try:
                self._facts = read_facts(told.stdout, scheme=device.scheme, address=device.address)
            except ProtocolError:  # what it remembers may be broken
                self._facts = inspect(transport, memory="renew")
        return left_of(transport, state)

    def _has_changed(self) -> bool:
        """Ask anew what the device is; return whether that is not what it remembered."""
        before, self._facts = self.facts, inspect(self.transport, memory="renew")
        return replace(before, free_bytes=0) != replace(self._facts, free_bytes=0)

    def _bring(self, facts: Facts) -> Prepared:
        if self.runtime.tool is not None:
            return prepare_tool(self.transport, facts, self.runtime, self.depot, self.wish.binary)
        if self.runtime.name == "coreml":
            return prepare_coreml(self.transport, facts, self.runtime, self.depot, self.wish.binary)
        return prepare(
            self.transport, facts, self.runtime, self.depot, program=self._program, cache=self._cache
        )

    def keep(self) -> None:
        """Hold the device for longer where that is due; call it often while waiting between runs.

        Raises:
            DeviceBusyError: somebody else holds it now.
        """
        self._lease.keep()

    def run(
        self,
        job: Job,
        artifact: Path,
        sha256: str,
        golden: Path | None,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> Generator[dict[str, Any]]:
        """Run one artifact and yield its events as they come.

        What came before an error was yielded before it is raised. Closing the iterator early, and
        ctrl-C, kill the process there. What the run left there is removed, unless it was broken.

        Args:
            job: what to do.
            artifact: a file on the host.
            sha256: of it, as its bundle says.
            golden: a float32 .npy on the host, N x the artifact's input shape, or None.
            on_event: told of every event too.

        Raises:
            UsageError: a file is not there, or the artifact is not what its sha256 says.
            DeviceError: the device's trouble; StableDeviceError when the program there broke off.
            ProtocolError: what it told can't be read.
        """
        prepared = self.prepare()
        remotes = self._push(prepared, artifact, sha256, golden)
        folder = f"{self.transport.root()}/runs/{job.run_id}"
        launch: _Launch | None = self._launcher(job, prepared, remotes, folder)
        if self.runtime.tool is not None:
            self._launcher(job, prepared, remotes, folder)((), 0)
            launch = None
        for name in job.passes if self.runtime.tool is None else ("latency",):
            with closing(self._follow(job, prepared, folder, name, remotes[0], launch=launch)) as stream:
                launch = None
                try:
                    for event in stream:
                        if on_event is not None:
                            on_event(event)
                        yield event
                        self._check_error(event)
                        self._check_placed(event, job)
                except KeyboardInterrupt:
                    yield from last_of(stream)
                    raise
        self.transport.run(["rm", "-rf", "--", folder])

    def _renewal(self) -> tuple[list[str], Callable[[CommandResult], None]]:
        """Return what holds the lease for a run, to be sent along, and who hears the answer."""
        return self._lease.argv(LEASE_S), lambda result: self._lease.accept(result, LEASE_S)

    def _push(self, prepared: Prepared, artifact: Path, sha256: str, golden: Path | None) -> tuple[str, ...]:
        """Bring the artifact and the golden inputs; return where they lie."""
        beside = [(golden, None)] if golden is not None else []
        if not artifact.is_dir():
            return self.depot.put_all([(artifact, sha256), *beside], along=self._renewal())
        self._lease.take(LEASE_S)
        python = prepared.command[0]
        package = put_package(self.transport, self.depot, artifact, sha256, python=python)
        return package, *(self.depot.put_all(beside) if beside else ())

    def _launcher(self, job: Job, prepared: Prepared, remotes: Sequence[str], folder: str) -> _Launch:
        """Return what writes the passes' jobs into the run's folder there and starts one, in one trip."""
        fields = {
            "protocol": PROTOCOL,
            "run": job.run_id,
            "runtime": self.runtime.name,
            "site": list(prepared.site),
            "artifact": remotes[0],
            "golden": remotes[1] if len(remotes) > 1 else None,
            "threads": job.threads,
            "cpus": list(job.cpus),
            "warmup": job.warmup,
            "runs": job.runs,
            "period_ns": round(job.period_s * 1e9),
            "max_s": job.max_s,
            "watch": job.watch,
            "profile": job.profile,
        }
        lines = [json.dumps({**fields, "spool": f"{folder}/{name}.jsonl"}) + "\n" for name in job.passes]
        paths = [f"{folder}/{name}.json" for name in job.passes]

        def launch(line: Sequence[str], tried: int) -> None:
            write = ["sh", "-c", _WRITE, "sh", str(tried), *paths]
            try:
                self.transport.check_all([write, line] if line else [write], stdin="".join(lines).encode())
            except CommandFailedError as error:
                if error.evidence != "taken":
                    raise
                what = f"{self.transport.device.address}: there has been a run {job.run_id} already"
                raise UsageError(what, hint=f"give the run another id, or remove {folder} there") from error

        return launch

    def _follow(
        self, job: Job, prepared: Prepared, folder: str, name: str, artifact: str, *, launch: _Launch | None
    ) -> Generator[dict[str, Any]]:
        path = f"{folder}/{name}"
        one = Pass(
            transport=self.transport,
            path=path,
            name=name,
            run_id=job.run_id,
            runs=job.runs,
            deadline_s=job.deadline_s,
            on_poll=self._lease.keep,
            launch=launch,
        )
        if self.runtime.tool is not None:
            return tool_pass(one, self.runtime, job, prepared.version).play(
                prepared.command, artifact, job.cpus
            )
        argv = [*prepared.command, f"{path}.json", name]
        return one.follow(argv, dict(self.runtime.env))

    def enough(self, run_id: str) -> None:
        """Let the timed loop of a run that is under way end; what it measured so far is its result."""
        self.transport.check(["touch", f"{self.transport.root()}/runs/{run_id}/latency.enough"])

    def _check_placed(self, event: dict[str, Any], job: Job) -> None:
        """Hold the threads that were started, and the CPUs, against what was asked for.

        Both runtimes let the calling thread work too, so that N threads are N - 1 more than before.
        """
        if event["e"] != "placed":
            return
        started = event["threads_after"] - event["threads_before"]
        if self.runtime.name != "null" and started != job.threads - 1:
            what = f"{self.runtime.name} started {started} threads beside its own, for {job.threads} in all"
            raise StableDeviceError(self.transport.device.address, what, hint="ask for as many as it can use")
        allowed = cores_of((), event["cpus_allowed"])
        if job.cpus and allowed != job.cpus:
            what = f"it was asked to keep to the CPUs {job.cpus}, and may run on {event['cpus_allowed']}"
            raise StableDeviceError(self.transport.device.address, what, hint="look who else sets its CPUs")

    def _check_error(self, event: dict[str, Any]) -> None:
        """Raise what an error line stands for; memory that can't be read is told and does not end the run."""
        if event["e"] != "error" or event["kind"] == "memory":
            return
        address, kind = self.transport.device.address, event["kind"]
        doing = {"load": "could not load", "invoke": "could not invoke"}.get(kind, "could not take")
        what = f"{self.runtime.name} {doing} the artifact: {event['message'][:400]}"
        error: type[DeviceError] = DeviceUnfitError if kind == "runtime" else StableDeviceError
        if kind == "runtime":
            what = f"{self.runtime.name} does not start there: {event['message'][:400]}"
        raise error(
            address, what, hint="convert it again, or choose another recipe", evidence=event["message"]
        )
