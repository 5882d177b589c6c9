"""A plan: what shall run where. Made whole, and checked whole, before any device is touched.

A PATH that is benched is one of

    BUNDLE                       a bundle's folder: all its artifacts, or those of the recipes asked for
    BUNDLE/artifacts/NAME        one artifact of a bundle, whose golden inputs prove it
    NAME.tflite .onnx .mlpackage a bare file: nothing proves its outputs, and its runs say so
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact, digest
from edgekit.bench.fitting import check_wish, unfit
from edgekit.bench.golden import wants_channels_first
from edgekit.bench.metering import PowerWish
from edgekit.bench.run import ArtifactRef
from edgekit.bench.state import DeviceState
from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import UnknownNameError, UsageError
from edgekit.recipe import parse_recipes
from edgekit.runners.cores import check_cores
from edgekit.runners.runtime import RUNTIMES, Runtime, RuntimeWish, runtime_for
from edgekit.targets import Device, load_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RUNS = 200
"""Timed invocations by default: P95 lies between the 184th and the 197th sample, not at the largest."""
WARMUP = 10
MAX_S = 30.0
MANY_RUNS, PRECISE_MAX_S = 1_000_000, 300.0
"""The limits of a run that goes on until its percentiles are precise enough, or for its whole time."""
PASSES = ("memory", "latency")
STATE = DeviceState()
"""Nothing of a device's state is changed by default."""
OPTIONAL_PASSES = ("profile",)
PROGRAMS = ("auto", "native", "python")
POWER = PowerWish()
WISH = RuntimeWish()
"""Nothing is asked of the runtimes themselves by default."""

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
class Placement:
    """Where on a device an artifact shall run.

    Attributes:
        threads: asked of the runtime, 1 or more.
        cores: "big", "mid", "little", CPU numbers ("0-3,6"), or "" for all.
    """

    threads: int = 1
    cores: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.threads, int) or isinstance(self.threads, bool) or self.threads < 1:
            raise UsageError(f"threads is {self.threads!r}", hint="give a whole number from 1 on")
        check_cores(self.cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One artifact on one device, in one place: what becomes one run."""

    device: Device
    work: Work
    runtime: str
    placement: Placement = Placement()

    @property
    def provable(self) -> bool:
        """Whether golden inputs can prove its outputs."""
        return self.work.artifact is not None and self.runtime != NULL and not self.by_tool

    @property
    def by_tool(self) -> bool:
        """Whether a tool of the user's own runs it, which takes no golden inputs."""
        return RUNTIMES.get(self.runtime).tool is not None


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
        power: whether and how power is measured, in a pass of its own.
        runs: timed invocations at most, 1 or more.
        warmup: invocations before them, 0 or more.
        max_s: seconds that the timed loop may last, above 0.
        passes: "memory", "latency" and what else is wanted, each a process of its own on the device; latency
            at least.
        period_s: from the beginning of a timed invocation to that of the next one; 0 is back to back.
        precision: half the width of P50's and P95's intervals, relative to them, at which the timed loop
            ends; None to run all.
        sustained: whether the run is to show what the device keeps up for all of max_s.
        program: on the device: "native", "python", or "auto": the native one where it can do what is asked.
        allow_fallback: whether operators may run elsewhere than asked without making the run invalid.
        state: what is asked of the devices' state while the runs last.
        wish: what is asked of the runtimes themselves.
    """

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()
    power: PowerWish = POWER
    runs: int = RUNS
    warmup: int = WARMUP
    max_s: float = MAX_S
    passes: tuple[str, ...] = PASSES
    period_s: float = 0.0
    precision: float | None = None
    sustained: bool = False
    program: str = "auto"
    allow_fallback: bool = False
    state: DeviceState = STATE
    wish: RuntimeWish = WISH

    def __post_init__(self) -> None:
        self._check_numbers()
        for name in self.passes:
            if name not in (*PASSES, *OPTIONAL_PASSES):
                raise UnknownNameError("pass", name, (*PASSES, *OPTIONAL_PASSES))
        if self.program not in PROGRAMS:
            raise UnknownNameError("program", self.program, PROGRAMS)
        if self.program == "native" and "profile" in self.passes:
            raise UsageError("the native program reaches no profiler", hint="leave --program native out")
        if "latency" not in self.passes:
            raise UsageError("there is no latency pass", hint="memory is measured beside it, not alone")
        if not self.items:
            raise UsageError("there is nothing to bench", hint=_why_empty(self.skipped))
        check_wish(self)

    def _check_numbers(self) -> None:
        for name, least in (("runs", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} is {value!r}", hint=f"give a whole number from {least} on")
        if not 0 < self.max_s < float("inf"):
            raise UsageError(f"max_s is {self.max_s!r}", hint="give seconds, more than 0")
        if not 0 <= self.period_s < self.max_s:
            raise UsageError(f"period_s is {self.period_s!r}", hint="give seconds, less than max_s")
        if self.precision is not None and not 0 < self.precision < 1:
            raise UsageError(f"precision is {self.precision!r}", hint="give a share, 0.02 for 2 %")

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices, each once, in the order given."""
        return tuple(dict.fromkeys(item.device for item in self.items))

    def asked(self, item: Item) -> dict[str, Any]:
        """Return what was asked for, as a run records it."""
        names = ("runs", "warmup", "max_s", "period_s", "precision", "sustained", "allow_fallback")
        asked = {name: getattr(self, name) for name in names}
        passes = ["latency"] if item.by_tool else list(self.passes)
        asked.update(asdict(item.placement), passes=passes)
        return {**asked, **self.state.asked(), **self.wish.asked()}


def make_plan(
    paths: Sequence[Path | str],
    devices: Sequence[Device | str],
    *,
    recipes: Sequence[str] = (),
    runtime: str = "",
    target: str | None = None,
    runs: int | None = None,
    warmup: int = WARMUP,
    threads: int | Sequence[int] = 1,
    cores: Sequence[str] = ("",),
    max_s: float | None = None,
    passes: Sequence[str] = PASSES,
    power: PowerWish = POWER,
    period_s: float = 0.0,
    precision: float | None = None,
    sustained: bool = False,
    program: str = "auto",
    state: DeviceState = STATE,
    wish: RuntimeWish = WISH,
) -> BenchPlan:
    """Make a plan; every file is read and held against its sha256, and no device is touched.

    Args:
        paths: bundles, artifacts in them, bare files; see this module's head.
        devices: where all of them shall run.
        recipes: which artifacts of the bundles; empty for all that a device can run.
        runtime: what shall execute them; empty for the one that takes the format.
        target: the devices' kind, where it shall not be recognized.
        runs: timed invocations at most; None for RUNS, or as many as it takes.
        warmup: invocations before them.
        threads: asked of the runtime; several make a run each.
        cores: as in Placement; several make a run each.
        max_s: seconds that the timed loop may last; None for MAX_S, or PRECISE_MAX_S with a precision.
        passes: as in BenchPlan.
        power: as in BenchPlan.
        period_s: as in BenchPlan.
        precision: as in BenchPlan.
        sustained: as in BenchPlan; it needs max_s.
        program: as in BenchPlan.
        state: as in BenchPlan.
        wish: as in BenchPlan.

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
    placements = _placements(threads, cores)
    items: list[Item] = []
    skipped: list[Skipped] = []
    for device in where:
        for work, explicit in chosen:
            _place(device, work, placements, items, skipped, explicit=explicit, runtime=runtime)
    return BenchPlan(
        items=tuple(items),
        skipped=tuple(skipped),
        runs=runs if runs is not None else MANY_RUNS if precision or sustained else RUNS,
        warmup=warmup,
        max_s=max_s if max_s is not None else PRECISE_MAX_S if precision else MAX_S,
        passes=tuple(passes),
        power=power,
        period_s=period_s,
        precision=precision,
        sustained=sustained,
        program="python" if program == "auto" and "profile" in passes else program,
        state=state,
        wish=wish,
    )


def _placements(threads: int | Sequence[int], cores: Sequence[str]) -> tuple[Placement, ...]:
    counts = (threads,) if isinstance(threads, int) else tuple(threads)
    _refuse_doubles("number of threads", [str(n) for n in counts])
    _refuse_doubles("choice of cores", cores)
    made = tuple(Placement(threads=n, cores=name) for n in counts for name in cores)
    if not made:
        raise UsageError("no number of threads is given", hint="leave it out, or give one: --threads 1")
    return made


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
    device: Device,
    work: Work,
    placements: Sequence[Placement],
    items: list[Item],
    skipped: list[Skipped],
    *,
    explicit: bool,
    runtime: str,
) -> None:
    chosen = _runtime(device, work.ref.format, runtime)
    reason = unfit(chosen, work, device, named=explicit or bool(runtime))
    if not reason:
        if work.bundle is not None and work.artifact is not None:
            wants_channels_first(work.bundle, work.artifact)
        items += [Item(device=device, work=work, runtime=chosen.name, placement=p) for p in placements]
    elif explicit:
        raise UsageError(f"{work.path} can't run on {device.address}: {reason}", hint="leave it out")
    else:
        skipped.append(Skipped(device=device.address, recipe=work.ref.recipe, reason=reason))


def _runtime(device: Device, format_: str, runtime: str) -> Runtime:
    if runtime:
        return RUNTIMES.get(runtime)
    return RUNTIMES.get(NULL) if device.scheme == "fake" else runtime_for(format_)


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
