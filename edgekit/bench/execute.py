"""The engine: walks a plan device by device and keeps every run as soon as it is over.

It knows nothing of formats: it opens a transport and a runner, hands over an artifact, and turns what
comes back into a run. What goes wrong on one device or with one artifact is collected, and the rest goes
on; ctrl-C ends the bench and keeps what there is, the samples of the run it broke off included.
"""

from __future__ import annotations

import itertools
import math
import secrets
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgekit.bench.around import Around, cpus_used
from edgekit.bench.checks import DONE
from edgekit.bench.golden import stage
from edgekit.bench.metering import Metering, metering
from edgekit.bench.precision import Watch
from edgekit.bench.progress import Progress
from edgekit.bench.record import Header, from_events
from edgekit.bench.recover import recover_runs
from edgekit.errors import DeviceError, EdgeKitError, TransientDeviceError
from edgekit.runners.cores import cores_of
from edgekit.runners.follow import last_of
from edgekit.runners.lease import Lease
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.state import changed
from edgekit.runners.transport import open_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from edgekit.bench.journal import Journal
    from edgekit.bench.plan import BenchPlan, Item, Skipped
    from edgekit.bench.recover import Recovered
    from edgekit.bench.run import Run
    from edgekit.runners.conditions import Zone
    from edgekit.runners.state import Guard
    from edgekit.runners.transport import Transport
    from edgekit.targets import Device

_LOAD1_S = 60.0
"""The time constant of the kernel's one-minute load average."""


class RunSaver(Protocol):
    """Something that keeps runs."""

    def save(self, run: Run) -> None:
        """Keep a run whole, or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What did not run, or not to its end.

    Attributes:
        device: where.
        recipes: what; all that were left when the device itself failed.
        kind: the error's class.
        error: its one line.
    """

    device: str
    recipes: tuple[str, ...]
    kind: str
    error: str

    @property
    def recipe(self) -> str:
        """The recipes in one text."""
        return ", ".join(self.recipes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What a bench came to.

    Attributes:
        runs: in the order in which they were made; those broken off with samples too.
        skipped: what the plan left out, and why.
        failed: what did not run, or not to its end.
        interrupted: whether ctrl-C ended it.
        late: whether its time was over before its last run.
        kept: whether the store kept all runs; the bench ended at the first that it could not keep.
        recovered: what became of earlier runs on these devices that this host had begun and not ended.
    """

    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]
    failed: tuple[Failure, ...]
    interrupted: bool = False
    late: bool = False
    kept: bool = True
    recovered: tuple[Recovered, ...] = ()


def execute(
    plan: BenchPlan,
    store: RunSaver | None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    opened: Callable[[Device], AbstractContextManager[Transport]] | None = None,
    leased: Callable[[Transport], AbstractContextManager[Lease]] = Lease,
    journal: Journal | None = None,
    ends: float = math.inf,
) -> BenchResult:
    """Run a plan.

    Args:
        plan: what shall run where.
        store: keeps every run when it is over; None to keep none.
        on_progress: told of every step.
        opened: opens a device for the time of a `with` statement; None for a connection of its own.
        leased: the right to bench there, likewise; it is held for all of a device's runs.
        journal: where runs are written down before they begin, so that those whose host dies are found again
            by the next bench of that device; None for no such thing.
        ends: no run begins when time.monotonic() is beyond this.

    Returns:
        All that ran and all that did not. Nothing is raised for a device's or an artifact's trouble; a run
        that the store could not keep ends the bench and is among `runs` and `failed`.
    """
    bench = _Bench(plan, store, on_progress, opened or open_transport, leased, journal=journal, ends=ends)
    interrupted, late, kept = False, False, True
    try:
        for device in plan.devices:
            bench.device(device)
    except _StoreFailedError:
        kept = False
    except _LateError:
        late = True
    except KeyboardInterrupt:
        interrupted = True
    return BenchResult(
        runs=tuple(bench.runs),
        skipped=plan.skipped,
        failed=tuple(bench.failed),
        interrupted=interrupted,
        late=late,
        kept=kept,
        recovered=tuple(bench.recovered),
    )


class _StoreFailedError(Exception):
    """The store could not keep a run; going on would lose the next one too."""


class _LateError(Exception):
    """The time was over before a run."""


class _Bench:
    """One walk over a plan, with what it has gathered."""

    def __init__(
        self,
        plan: BenchPlan,
        store: RunSaver | None,
        on_progress: Callable[[Progress], None] | None,
        opened: Callable[[Device], AbstractContextManager[Transport]],
        leased: Callable[[Transport], AbstractContextManager[Lease]],
        *,
        journal: Journal | None,
        ends: float,
    ) -> None:
        self.plan = plan
        self.recovered: list[Recovered] = []
        self._journal, self._ends = journal, ends
        self.runs: list[Run] = []
        self.failed: list[Failure] = []
        self._store = store
        self._tell = on_progress
        self._opened, self._leased = opened, leased
        self._loads: list[tuple[float, float, int]] = []

    def device(self, device: Device) -> None:
        """Run all items of one device; what is left when it fails is collected as failed."""
        left = [item for item in self.plan.items if item.device == device]
        self._loads = []
        self._step(device, "connect")
        try:
            with self._opened(device) as transport, self._leased(transport) as lease:
                for _, group in itertools.groupby(tuple(left), key=lambda item: item.runtime):
                    self._group(transport, lease, tuple(group), left)
        except EdgeKitError as error:
            self._fail(left, error)

    def _group(self, transport: Transport, lease: Lease, items: Sequence[Item], left: list[Item]) -> None:
        """Run the items of one runtime; each is taken off `left` when it is settled."""
        self._step(transport.device, "prepare")
        runtime, plan = RUNTIMES.get(items[0].runtime), self.plan
        with Runner(transport, runtime, program=plan.program, wish=plan.wish, lease=lease) as runner:
            changes = self.plan.state.changes(transport, cpus_used(runner, items))
            try:
                runner.prepare()
            except EdgeKitError as error:
                self._fail(items, error)
                del left[: len(items)]
                _mend(transport, error)
                return
            self._recover(transport)
            try:
                with changed(transport, changes) as guard:
                    for item in items:
                        if time.monotonic() > self._ends:
                            raise _LateError
                        trouble = self._item(runner, item, guard)
                        left.remove(item)
                        _mend(transport, trouble)
            except EdgeKitError as error:  # its state could not be changed, did not hold, or stays changed
                rest = [item for item in items if item in left]
                self._fail(rest, error)
                if changes and not rest:
                    self._failed(transport.device, (), error)
                left[:] = [item for item in left if item not in items]

    def _recover(self, transport: Transport) -> None:
        """Keep what earlier runs left there; the device is ours by now, so that none of them runs."""
        if self._journal is None:
            return
        try:
            self.recovered.extend(recover_runs(transport, self._journal))
        except EdgeKitError as error:
            self._failed(transport.device, (), error)
            _mend(transport, error)

    def _item(self, runner: Runner, item: Item, guard: Guard) -> EdgeKitError | None:
        """Make one run and keep it, whole or broken off; return what went wrong on the way."""
        try:
            with metering(runner, self.plan.power) as power:
                header, around = self._header(runner, item), Around(runner.transport, self.plan.state, guard)
                if self._journal is not None:
                    self._journal.begin(header, power.passes(self.plan.passes))
                trouble = self._run(runner, header, power, around)
                if self._journal is not None:
                    self._journal.settle(header.id, trouble)
                return trouble
        except EdgeKitError as error:  # power was asked for, and nothing there can measure it
            self._fail([item], error)
            return error

    def _run(self, runner: Runner, header: Header, power: Metering, around: Around) -> EdgeKitError | None:
        item = header.item
        events: list[dict[str, Any]] = []
        trouble: EdgeKitError | None = None
        started = time.monotonic()
        try:
            around.begin(lambda zone: self._cooling(runner, item, zone))
            self._listen(runner, item, header.id, events, power)
        except KeyboardInterrupt:
            run = from_events(events, header, broken="interrupted")
            self._keep(item, run and replace(run, power=power.keep(events, "interrupted")))
            raise
        except EdgeKitError as error:
            trouble = error
        self._loads.append((time.monotonic(), time.monotonic() - started, item.placement.threads))
        run = from_events(events, header, broken=_reason(trouble))
        if run is None and trouble is None:
            trouble = DeviceError(item.device.address, "the device told of no invocation")
        self._keep(item, around.told(run and replace(run, power=power.keep(events, _reason(trouble)))))
        if trouble is not None and (run is None or run.ended not in DONE):
            self._fail([item], trouble)
        return trouble

    def _cooling(self, runner: Runner, item: Item, zone: Zone) -> None:
        """Show how hot it is, and hold the device meanwhile."""
        runner.keep()
        self._step(item.device, "cool", item, note=f": {zone.name} at {zone.celsius:.1f} C")

    def _listen(
        self, runner: Runner, item: Item, run_id: str, events: list[dict[str, Any]], power: Metering
    ) -> None:
        plan, work = self.plan, item.work
        job = Job(
            run_id=run_id,
            threads=item.placement.threads,
            cpus=cores_of(runner.facts.cpus, item.placement.cores, clusters=runner.facts.clusters),
            warmup=plan.warmup,
            runs=plan.runs,
            max_s=plan.max_s,
            passes=power.passes(plan.passes),
            watch=power.job(plan.max_s),
            period_s=plan.period_s,
        )
        self._step(item.device, "run", item)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            golden = None
            if item.provable and work.bundle is not None and work.artifact is not None:
                golden = stage(work.bundle, work.artifact, Path(folder))
            run = closing(runner.run(job, work.path, work.ref.sha256, golden))
            with power.listening(runner) as hear, run as stream:
                try:
                    for event in self._until_precise(stream, runner, run_id, item):
                        events.append(event)
                        hear(event)
                except KeyboardInterrupt:
                    events.extend(last_of(stream))
                    raise

    def _until_precise(
        self, stream: Iterable[dict[str, Any]], runner: Runner, run_id: str, item: Item
    ) -> Iterator[dict[str, Any]]:
        """Yield a run's events; show how far it is, and end its loop once it is as precise as asked."""
        watch, done = Watch(self.plan.precision) if self.plan.precision is not None else None, 0
        for event in stream:
            yield event
            if event["e"] == "samples":
                done += len(event["ns"])
                self._step(item.device, "run", item, done=done)
            if watch is not None and _precise(watch, event):
                runner.enough(run_id)
                watch = None

    def _header(self, runner: Runner, item: Item) -> Header:
        facts = runner.facts.to_json()
        target = runner.target
        return Header(
            id=secrets.token_hex(8),
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            target=target.name if target else "",
            facts=facts,
            item=item,
            plan=self.plan.asked(item),
            power={},
            own_load1=own_load1(self._loads, time.monotonic()),
        )

    def _keep(self, item: Item, run: Run | None) -> None:
        if run is None:
            return
        self.runs.append(run)
        if self._store is not None:
            try:
                self._store.save(run)
            except EdgeKitError as error:
                self._fail([item], error)
                raise _StoreFailedError from error
        self._step(item.device, "saved", item, done=len(run.samples_ns))

    def _fail(self, items: Iterable[Item], error: EdgeKitError) -> None:
        items = tuple(items)
        if items:
            self._failed(items[0].device, tuple(item.work.ref.recipe for item in items), error)
            self._step(items[0].device, "failed", items[0] if len(items) == 1 else None)

    def _failed(self, device: Device, recipes: tuple[str, ...], error: EdgeKitError) -> None:
        kind = type(error).__name__
        self.failed.append(Failure(device=device.address, recipes=recipes, kind=kind, error=str(error)))

    def _step(
        self, device: Device, phase: str, item: Item | None = None, *, done: int = 0, note: str = ""
    ) -> None:
        if self._tell is None:
            return
        self._tell(
            Progress(
                device=device.address,
                recipe=item.work.ref.recipe if item else "",
                phase=phase,
                index=self.plan.items.index(item) + 1 if item else 0,
                items=len(self.plan.items),
                done=done,
                total=self.plan.runs,
                note=note,
            )
        )


def _precise(watch: Watch, event: Mapping[str, Any]) -> bool:
    """Take what an event tells of the loop; return whether it is precise enough now."""
    if event["e"] == "warmup":
        watch.warm(event["ns"])
    return event["e"] == "samples" and watch.add(event["ns"])


def _reason(trouble: EdgeKitError | None) -> str:
    """Return an error's line without the device's address, which the run has already; "" without one."""
    if isinstance(trouble, DeviceError):
        return trouble.what.removeprefix(f"{trouble.device}: ")
    return trouble.what if trouble else ""


def _mend(transport: Transport, trouble: EdgeKitError | None) -> None:
    """Open the link again after trouble that may have cut it."""
    if isinstance(trouble, TransientDeviceError):
        transport.reopen()


def own_load1(runs: Iterable[tuple[float, float, int]], now: float) -> float:
    """Return the part of a device's load average that earlier runs of this bench left there.

    The kernel's one-minute load average is an exponential mean with a time constant of 60 s.

    Args:
        runs: (when it ended, how long it took, the threads it kept busy) of each, in seconds of one clock.
        now: on that clock.
    """
    left = 0.0
    for ended, took, threads in runs:
        left += threads * (1.0 - math.exp(-took / _LOAD1_S)) * math.exp(-(now - ended) / _LOAD1_S)
    return left
