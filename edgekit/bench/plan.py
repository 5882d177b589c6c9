"""A plan: what shall run where. Made whole, and checked whole, before any device is touched.

A PATH that is benched is one of

    BUNDLE                       a bundle's folder: all its artifacts, or those of the recipes asked for
    BUNDLE/artifacts/NAME        one artifact of a bundle, whose golden inputs prove it
    NAME.tflite .onnx .mlpackage a bare file: nothing proves its outputs, and its runs say so
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact, digest
from edgekit.bench.golden import wants_channels_first
from edgekit.bench.run import ArtifactRef
from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.runners.runtime import RUNTIMES, Runtime, runtime_for
from edgekit.targets import Device, load_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RUNS = 200
"""Timed invocations by default: P95 lies between the 184th and the 197th sample, not at the largest."""
WARMUP = 10
MAX_S = 30.0
PASSES = ("memory", "latency")

NULL = "null"
"""The runtime that computes nothing: it takes every format, and proves no output."""

_SUFFIXES = {".tflite": "tflite", ".onnx": "onnx", ".mlpackage": "coreml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One artifact to bench.

    Attributes:
        ref: which one it is, as its runs will say.
        path: where it lies on the host.
        bundle: the bundle it belongs to, or None for a bare file.
        artifact: the bundle's entry for it, or None.
    """

    ref: ArtifactRef
    path: Path
    bundle: Bundle | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One artifact on one device: what becomes one run."""

    device: Device
    work: Work
    runtime: str

    @property
    def provable(self) -> bool:
        """Whether golden inputs can prove its outputs."""
        return self.work.artifact is not None and self.runtime != NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An artifact of a bundle that a device can't run, and why."""

    device: str
    recipe: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What shall run where.

    Attributes:
        items: device by device, in the order given.
        skipped: what was left out, and why.
        runs: timed invocations at most, 1 or more.
        warmup: invocations before them, 0 or more.
        threads: asked of the runtime, 1 or more.
        max_s: seconds that the timed loop may last, above 0.
        passes: "memory" and "latency", each a process of its own on the device; latency at least.
    """

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()
    runs: int = RUNS
    warmup: int = WARMUP
    threads: int = 1
    max_s: float = MAX_S
    passes: tuple[str, ...] = PASSES

    def __post_init__(self) -> None:
        for name, least in (("runs", 1), ("warmup", 0), ("threads", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} is {value!r}", hint=f"give a whole number from {least} on")
        if not 0 < self.max_s < float("inf"):
            raise UsageError(f"max_s is {self.max_s!r}", hint="give seconds, more than 0")
        for name in self.passes:
            if name not in PASSES:
                raise UnknownNameError("pass", name, PASSES)
        if "latency" not in self.passes:
            raise UsageError("there is no latency pass", hint="memory is measured beside it, not alone")
        if not self.items:
            raise UsageError("there is nothing to bench", hint=_why_empty(self.skipped))

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices, each once, in the order given."""
        return tuple(dict.fromkeys(item.device for item in self.items))

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, as a run records it."""
        asked = {name: getattr(self, name) for name in ("runs", "warmup", "threads", "max_s")}
        return {**asked, "passes": list(self.passes)}


def make_plan(
    paths: Sequence[Path | str],
    devices: Sequence[Device | str],
    *,
    recipes: Sequence[str] = (),
    runtime: str = "",
    target: str | None = None,
    runs: int = RUNS,
    warmup: int = WARMUP,
    threads: int = 1,
    max_s: float = MAX_S,
    passes: Sequence[str] = PASSES,
) -> BenchPlan:
    """Make a plan; every file is read and held against its sha256, and no device is touched.

    Args:
        paths: bundles, artifacts in them, bare files; see this module's head.
        devices: where all of them shall run.
        recipes: which artifacts of the bundles; empty for all that a device can run.
        runtime: what shall execute them; empty for the one that takes the format.
        target: the devices' kind, where it shall not be recognized.
        runs: timed invocations at most.
        warmup: invocations before them.
        threads: asked of the runtime.
        max_s: seconds that the timed loop may last.
        passes: "memory" and "latency", or the latter alone.

    Raises:
        UsageError: a path that is none of these or is damaged, a recipe or device that is not known or
            named twice, a number out of bounds, or something named by itself that can't run.
    """
    if target is not None:
        load_target(target)
    where = tuple(d if isinstance(d, Device) else Device.parse(d, target=target) for d in devices)
    _refuse_doubles("device", [d.address for d in where])
    _refuse_doubles("path", [str(Path(p).resolve()) for p in paths])
    if not where:
        raise UsageError("no device is named", hint="give one: --device local://")
    wanted = tuple(recipe.name for recipe in parse_recipes(tuple(recipes)))
    chosen = [entry for path in paths for entry in _works(Path(path), wanted)]
    items: list[Item] = []
    skipped: list[Skipped] = []
    for device in where:
        for work, explicit in chosen:
            _place(device, work, items, skipped, explicit=explicit, runtime=runtime)
    return BenchPlan(
        items=tuple(items),
        skipped=tuple(skipped),
        runs=runs,
        warmup=warmup,
        threads=threads,
        max_s=max_s,
        passes=tuple(passes),
    )


def _works(path: Path, recipes: tuple[str, ...]) -> list[tuple[Work, bool]]:
    """Return what a path stands for, each with whether it was named by itself."""
    if (path / MANIFEST).is_file():
        bundle = Bundle.load(path)
        bundle.check()
        named = [bundle.artifact(recipe) for recipe in recipes]
        return [(_of_bundle(bundle, a), bool(recipes)) for a in named or bundle.artifacts]
    if not path.exists():
        raise UsageError(f"there is no {path}", hint="give a bundle's folder or an artifact's file")
    if recipes:
        raise UsageError(
            f"a recipe picks from a bundle, and {path} is none", hint="leave out -r, or give its bundle"
        )
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"{path} is neither a bundle nor an artifact", hint=f"an artifact ends with {' '.join(_SUFFIXES)}"
        )
    root = path.resolve().parent.parent
    if (root / MANIFEST).is_file():
        bundle = Bundle.load(root)
        for artifact in bundle.artifacts:
            if bundle.path_of(artifact).resolve() == path.resolve():
                bundle.check()
                return [(_of_bundle(bundle, artifact), True)]
    return [(_bare(path), True)]


def _of_bundle(bundle: Bundle, artifact: Artifact) -> Work:
    ref = ArtifactRef(
        recipe=artifact.recipe,
        format=artifact.format,
        precision=artifact.precision,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        source=bundle.source.name,
        bundle=str(bundle.root.resolve()),
    )
    return Work(ref=ref, path=bundle.path_of(artifact), bundle=bundle, artifact=artifact)


def _bare(path: Path) -> Work:
    sha256, size = digest(path)
    if size == 0:
        raise UsageError(f"{path} is empty", hint="give an artifact that holds something")
    ref = ArtifactRef(
        recipe=path.name, format=_SUFFIXES[path.suffix], precision="", sha256=sha256, size_bytes=size
    )
    return Work(ref=ref, path=path)


def _place(
    device: Device, work: Work, items: list[Item], skipped: list[Skipped], *, explicit: bool, runtime: str
) -> None:
    chosen = _runtime(device, work.ref.format, runtime)
    reason = _unfit(chosen, work)
    if not reason:
        if work.bundle is not None and work.artifact is not None:
            wants_channels_first(work.bundle, work.artifact)
        items.append(Item(device=device, work=work, runtime=chosen.name))
    elif explicit:
        raise UsageError(f"{work.path} can't run on {device.address}: {reason}", hint="leave it out")
    else:
        skipped.append(Skipped(device=device.address, recipe=work.ref.recipe, reason=reason))


def _runtime(device: Device, format_: str, runtime: str) -> Runtime:
    if runtime:
        return RUNTIMES.get(runtime)
    return RUNTIMES.get(NULL) if device.scheme == "fake" else runtime_for(format_)


def _unfit(runtime: Runtime, work: Work) -> str:
    format_ = work.ref.format
    if runtime.refuses:
        return runtime.refuses
    if work.path.is_dir():
        return "it is a package (a folder), and only files are brought to a device"
    if runtime.name != NULL and format_ not in runtime.formats:
        return f"the runtime {runtime.name} takes {', '.join(runtime.formats)}, not {format_}"
    return ""


def _refuse_doubles(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{what} {name} is named twice", hint="name it once")
        seen.add(name)


def _why_empty(skipped: tuple[Skipped, ...]) -> str:
    if not skipped:
        return "give a bundle's folder or an artifact's file"
    return f"{skipped[0].recipe} was left out: {skipped[0].reason}"
