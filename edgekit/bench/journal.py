"""What this host has begun on devices: written down before a run starts, removed when it is kept.

One file a run, `$XDG_DATA_HOME/edgekit/begun/ID.json` (~/.local/share where that is not set). It holds all
that a run's record says beside what the device tells, so that a device can't make up a run: what nobody here
began is never looked for there.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from edgekit.artifact import checked
from edgekit.bench.plan import Item, Placement, Work
from edgekit.bench.record import Header
from edgekit.bench.run import ArtifactRef
from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError, ResultError, TransientDeviceError, UsageError
from edgekit.runners.lease import host, is_dead
from edgekit.targets import Device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.bench.run import Run

JOURNAL_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run that was begun.

    Attributes:
        id: the run's.
        device: its address.
        runtime: what executes it.
        store: which store its run goes to.
        host: the process that began it, as `edgekit.runners.lease.host` tells it.
        passes: those that it asked for.
        path: the artifact's, on this host.
        artifact: an ArtifactRef's fields.
        placement: a Placement's fields.
        started_at: UTC, ISO 8601.
        target: the recognized target's name, or "".
        facts: what the device said of itself.
        plan: what was asked for.
        own_load1: the load average that the bench itself left there.
        lost: why its end was not seen, where its process knew; "" while it goes on, or when that died.
        schema: of this file.
    """

    id: str
    device: str
    runtime: str
    store: str
    host: str
    passes: tuple[str, ...]
    path: str
    artifact: Mapping[str, Any]
    placement: Mapping[str, Any]
    started_at: str
    target: str
    facts: Mapping[str, Any]
    plan: Mapping[str, Any]
    own_load1: float = 0.0
    lost: str = ""
    schema: int = JOURNAL_SCHEMA

    @classmethod
    def of(cls, header: Header, passes: tuple[str, ...], store: str) -> Self:
        """Return the entry of a run that this process is about to begin."""
        item = header.item
        return cls(
            id=header.id,
            device=item.device.address,
            runtime=item.runtime,
            store=store,
            host=host(),
            passes=passes,
            path=str(item.work.path.absolute()),
            artifact=asdict(item.work.ref),
            placement=asdict(item.placement),
            started_at=header.started_at,
            target=header.target,
            facts=header.facts,
            plan=header.plan,
            own_load1=header.own_load1,
        )

    @property
    def over(self) -> bool:
        """Whether nobody follows that run any more: its process is dead, or has lost it."""
        return bool(self.lost) or is_dead(self.host)

    @property
    def reason(self) -> str:
        """Why nobody saw its end."""
        return self.lost or "the host died"

    def header(self) -> Header:
        """Return what its process knew; the bundle is read anew, where it still has the artifact."""
        ref = ArtifactRef(**self.artifact)
        bundle, found = _bundle(ref)
        work = Work(ref=ref, path=Path(self.path), bundle=bundle, artifact=found)
        placement = Placement(**self.placement)
        device = Device.parse(self.device)
        return Header(
            id=self.id,
            started_at=self.started_at,
            target=self.target,
            facts=self.facts,
            item=Item(device=device, work=work, runtime=self.runtime, placement=placement),
            plan=self.plan,
            power={"unavailable": f"not read: {self.reason}"},
            own_load1=self.own_load1,
        )


class RunKeeper(Protocol):
    """A store of runs that can be asked which ones it has."""

    @property
    def url(self) -> str:
        """Where it is; what tells it from others."""

    def save(self, run: Run) -> None:
        """Keep a run whole, or raise."""

    def query(self, text: str = "", limit: int | None = None) -> list[Run]:
        """Return the runs that a query picks."""


class Journal:
    """The runs that this host has begun for one store.

    Args:
        store: where their runs go.
        folder: where the files lie; None for the user's own.
    """

    def __init__(self, store: RunKeeper, folder: Path | None = None) -> None:
        self.store = store
        self._folder = folder or default_folder()

    def begin(self, header: Header, passes: tuple[str, ...]) -> None:
        """Write down, to last, that a run begins; not of a tool's, which tells nothing before its end.

        Raises:
            UsageError: there is no place for it.
        """
        if not header.item.by_tool:
            self._write(Entry.of(header, passes, self.store.url))

    def settle(self, id_: str, trouble: EdgeKitError | None) -> None:
        """Forget a run that is kept; one whose device was lost may have told more, and stays written down.

        Args:
            id_: the run's.
            trouble: what broke it off, or None.
        """
        if isinstance(trouble, TransientDeviceError) and self._path(id_).exists():
            reason = trouble.what.removeprefix(f"{trouble.device}: ")
            self._write(replace(self._read(self._path(id_)), lost=reason))
        else:
            self.end(id_)

    def end(self, id_: str) -> None:
        """Forget a run: it is kept, or there is nothing of it to keep."""
        self._path(id_).unlink(missing_ok=True)

    def left(self, device: str) -> list[Entry]:
        """Return the runs that were begun on a device and that nobody follows any more, the oldest first.

        Raises:
            ResultError: a file of it can't be read.
        """
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # another process has just ended it
                found.append(self._read(path))
        mine = [e for e in found if e.device == device and e.store == self.store.url and e.over]
        return sorted(mine, key=lambda entry: (entry.started_at, entry.id))

    def _path(self, id_: str) -> Path:
        return self._folder / f"{id_}.json"

    def _read(self, path: Path) -> Entry:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            entry = Entry(**{**checked(Entry, data, "entry"), "passes": tuple(data["passes"])})
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, AttributeError, UsageError) as error:
            what = f"{path}, which tells of a run that was begun, can't be read ({error})"
            raise ResultError(what, hint="remove it; what lies on the device is not touched") from error
        if entry.schema != JOURNAL_SCHEMA:
            what = f"{path} has schema {entry.schema}, this EdgeKit reads {JOURNAL_SCHEMA}"
            raise ResultError(what, hint="use the EdgeKit that wrote it")
        return entry

    def _write(self, entry: Entry) -> None:
        path = self._path(entry.id)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with part.open("w", encoding="utf-8") as file:
                json.dump(asdict(entry), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            what = f"{path} can't be written: {error.strerror}"
            raise UsageError(what, hint="free some space, or set XDG_DATA_HOME to another folder") from error


def default_folder() -> Path:
    """Return the user's own folder of what was begun."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "edgekit" / "begun"


def _bundle(ref: ArtifactRef) -> tuple[Bundle, Any] | tuple[None, None]:
    """Return an artifact's bundle and its entry there; None and None where it is that no more."""
    if not ref.bundle:
        return None, None
    with contextlib.suppress(EdgeKitError, OSError):
        bundle = Bundle.load(Path(ref.bundle))
        bundle.golden_arrays()
        for artifact in bundle.artifacts:
            if artifact.sha256 == ref.sha256:
                return bundle, artifact
    return None, None
