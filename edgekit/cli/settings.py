"""What `bench` and `compare` alike are told of a run: its runtime, and the device's state meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    from edgekit.bench.state import DeviceState
    from edgekit.runners.runtime import RuntimeWish


def add_runtime(parser: Any) -> None:
    """Add which runtime and which program of ours run there, and what of a delegate's fallback is allowed."""
    parser.add_argument(
        "--runtime", default="", metavar="NAME",
        help="litert, onnxruntime, coreml, null (no network: the loop alone), or a tool of your own: "
        "benchmark_model, onnxruntime_perf_test; one release of it as onnxruntime==1.23.2",
    )  # fmt: skip
    parser.add_argument(
        "--runtime-binary", default="", metavar="FILE",
        help="the tool, or for coreml the Mac's Python: a file here (it is brought) or device:PATH there",
    )  # fmt: skip
    parser.add_argument(
        "--compute-units", default="", metavar="UNITS",
        help="of Core ML: ALL (default), CPU_ONLY, CPU_AND_GPU, CPU_AND_NE",
    )  # fmt: skip
    parser.add_argument(
        "--remote-device", default="", metavar="NAME", help="run on this iPhone, connected to the Mac"
    )
    parser.add_argument(
        "--program", default="auto", metavar="NAME",
        help="on the device: native, python, or auto (default): the native one where it can run",
    )  # fmt: skip
    parser.add_argument(
        "--allow-fallback", action="store_true",
        help="operators that the delegate leaves out do not make a run invalid",
    )  # fmt: skip


def add_state(parser: Any) -> None:
    """Add what changes a device's state while the runs last; all of it is given back."""
    parser.add_argument(
        "--governor", default="", metavar="NAME", help="set this frequency governor meanwhile"
    )
    parser.add_argument(
        "--frequency", metavar="F", help="fix the clock meanwhile: 1400MHz, or a number in kHz"
    )
    parser.add_argument("--screen", default="", metavar="on|off", help="keep a phone's screen so meanwhile")
    parser.add_argument(
        "--fixed-performance", action="store_true", help="put a phone (Android 11 on) in this mode meanwhile"
    )
    parser.add_argument(
        "--cooldown", type=float, metavar="C", help="wait before each run until the CPU is this cool (45)"
    )
    parser.add_argument(
        "--cooldown-timeout", type=float, default=600.0, metavar="S", help="for so long at most (default 600)"
    )
    parser.add_argument(
        "--cooldown-zone", default="", metavar="NAME", help="the zone to go by, where none is the CPU's"
    )


def wished(args: Namespace) -> tuple[str, RuntimeWish]:
    """Return the runtime's name ("" for the artifact's own) and what is asked of it.

    Raises:
        UnknownNameError: there is no such runtime.
        UsageError: it has no such release, or the file that should be brought is not here.
    """
    from edgekit.runners.runtime import RUNTIMES, RuntimeWish
    from edgekit.runners.tool import local_program

    name, _, release = args.runtime.partition("==")
    if release:
        RUNTIMES.get(name).released(release)  # unknown ones are refused before anything is read
    local_program(args.runtime_binary)
    wish = RuntimeWish(
        binary=args.runtime_binary,
        compute_units=args.compute_units.upper(),
        remote_device=args.remote_device,
        release=release,
    )
    return name, wish


def state_of(args: Namespace) -> DeviceState:
    """Return what is asked of the devices' state."""
    from edgekit.bench.cooldown import Cooldown
    from edgekit.bench.state import DeviceState
    from edgekit.runners.state import parse_khz

    wait = None
    if args.cooldown is not None:
        wait = Cooldown(celsius=args.cooldown, timeout_s=args.cooldown_timeout, zone=args.cooldown_zone)
    return DeviceState(
        governor=args.governor,
        khz=parse_khz(args.frequency) if args.frequency is not None else None,
        screen=args.screen,
        fixed_performance=args.fixed_performance,
        cooldown=wait,
    )
