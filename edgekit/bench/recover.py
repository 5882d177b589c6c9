"""Runs that this host began and did not end: their samples are fetched from the device and kept, once.

What nobody followed to its end is a run whose ending says so ("the host died"), whatever its program told:
nobody held the device, renewed its lease or looked at its state meanwhile, so that it is doubted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekit.bench.record import from_events
from edgekit.runners.lease import LEASE_S, Lease
from edgekit.runners.recover import LeftRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.bench.journal import Entry, Journal
    from edgekit.bench.run import Run
    from edgekit.runners.transport import Transport

AGAIN = "-more"
"""What the id of a recovered run ends with when its beginning was kept already, under the id itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of one run that was begun and not ended.

    Attributes:
        id: the id that it was begun under.
        device: where.
        run: what was kept now, or None when there was nothing more to keep.
        note: what was found, in words.
    """

    id: str
    device: str
    run: Run | None
    note: str


def recover_runs(transport: Transport, journal: Journal) -> Iterator[Recovered]:
    """Keep what runs left on a device that this host began and nobody follows; hold its lease meanwhile.

    Each is forgotten, here and there, once it is kept; what is interrupted is done again the next time and
    keeps nothing twice. A spool with a foreign line keeps its samples up to there, and stays on the device.

    Args:
        transport: an open way to the device, whose lease the caller holds: nothing of those runs runs there.
        journal: what this host has begun, and the store that it is for.

    Yields:
        One for each run, when it is settled.

    Raises:
        ResultError: the store can't keep a run; it stays where it is.
        DeviceError: the device does not answer; what was not settled stays where it is.
    """
    for entry in journal.left(transport.device.address):
        yield _recover(_left_run(transport, entry), entry, journal)


def recover_device(
    transport: Transport,
    journal: Journal,
    *,
    wait_s: float = 0.0,
    on_look: Callable[[str], None] = lambda _: None,
) -> list[Recovered]:
    """Do what `recover_runs` does, on a device that nobody holds.

    Args:
        transport: an open way to the device.
        journal: what this host has begun, and the store that it is for.
        wait_s: how long to wait for each run that still goes on there; 0 ends it at once, and what it
            measured so far is kept.
        on_look: told meanwhile which pass runs.

    Raises:
        DeviceBusyError: somebody benches there now.
        DeviceTimeoutError: a run goes on for longer than that.
    """
    entries = journal.left(transport.device.address)
    if not entries:
        return []
    for entry in entries if wait_s > 0 else ():
        _left_run(transport, entry).wait(wait_s, on_look=on_look)
    lease = Lease(transport)
    lease.take(LEASE_S)
    try:
        return list(recover_runs(transport, journal))
    finally:
        lease.give_back()


def _left_run(transport: Transport, entry: Entry) -> LeftRun:
    return LeftRun(transport, entry.id, entry.passes, int(entry.plan["runs"]))


def _recover(left_run: LeftRun, entry: Entry, journal: Journal) -> Recovered:
    """Keep what one run left, then forget it there and here, in this order."""
    left = left_run.read()
    broken = f"{entry.reason}; {left.broken}" if left.broken else entry.reason
    run = from_events(left.events, entry.header(), broken=broken) if left.there else None
    known = [
        kept for kept in journal.store.query(f"id={entry.id}") if kept.id in {entry.id, entry.id + AGAIN}
    ]
    most = max((len(kept.samples_ns) for kept in known), default=-1)
    if run is not None and len(run.samples_ns) > most:
        run = replace(run, id=entry.id + AGAIN if known else entry.id, ended=broken)
        journal.store.save(run)
        note = f"{len(run.samples_ns)} samples, kept as {run.id}: {broken}"
    elif not left.there:
        run, note = None, "nothing of it lies on the device any more"
    else:
        note = "all that it told was kept already" if known else "it had finished nothing"
        run = None
    if not left.broken:
        left_run.remove()
    journal.end(entry.id)
    return Recovered(id=entry.id, device=entry.device, run=run, note=note)
