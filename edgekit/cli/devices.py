"""`edgekit devices`: what a device is, before anything is pushed; and what was left there, given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command, add_group

if TYPE_CHECKING:
    from argparse import Namespace


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    devices = add_group(commands, "devices", "the devices at hand")
    probe = add_command(
        devices, "probe", "what a device is and what can run there; pushes nothing", devices_probe
    )
    probe.add_argument("device", metavar="D", help="local://, ssh://[user@]host[:port] or adb://serial")
    restore = add_command(
        devices,
        "restore",
        "restore the state that a bench changed and could not give back",
        devices_restore,
    )
    restore.add_argument("device", metavar="D", help="local://, ssh://[user@]host[:port] or adb://serial")
    restore.add_argument("--force", action="store_true", help="at once, even if its bench may still run")
    restore.add_argument(
        "--forget", action="store_true", help="restore nothing, and forget what was written down there"
    )
    clean = add_command(devices, "clean", "remove all that EdgeKit left on a device", devices_clean)
    clean.add_argument("device", metavar="D", help="local://, ssh://[user@]host[:port] or adb://serial")


def devices_probe(args: Namespace) -> int:
    """Print a device's facts and what can run there."""
    from edgekit.runners.check import describe_device
    from edgekit.targets import Device

    found = describe_device(Device.parse(args.device))
    if args.json:
        print_json({"device": args.device, **found})
        return 0
    from edgekit.report.table import print_table

    rows = [(key, _text(value)) for key, value in found["facts"].items()]
    rows += [(f"runtime: {name}", text) for name, text in found["runtimes"].items()]
    title = f"{args.device}: {found['target'] or 'no known target'}"
    print_table(out(), title, ("fact", "value"), rows, notes=[])
    return 0


def devices_restore(args: Namespace) -> int:
    """Restore what a bench left changed on a device."""
    from edgekit.runners.state import forget, recover
    from edgekit.runners.transport import open_transport
    from edgekit.targets import Device

    with open_transport(Device.parse(args.device)) as transport:
        if args.forget:
            forget(transport)
        told = () if args.forget else recover(transport, force=args.force, on_wait=say)
    if args.json:
        values = [{"what": line.what, "state": line.word, "value": line.now or line.value} for line in told]
        print_json({"device": args.device, "values": values, "forgotten": args.forget})
        return 0
    for line in told:
        done = f"restored to {line.value}" if line.word == "restored" else f"left at {line.now}, set since"
        out().print(f"{line.what}: {done}", markup=False, soft_wrap=True)
    if not told:
        out().print(
            f"{args.device}: " + ("forgotten" if args.forget else "nothing to restore"),
            markup=False,
            soft_wrap=True,
        )
    return 0


def devices_clean(args: Namespace) -> int:
    """Remove EdgeKit's folder from a device, once its state is what it was."""
    from edgekit.runners.depot import Depot
    from edgekit.runners.state import recover
    from edgekit.runners.transport import open_transport
    from edgekit.targets import Device

    with open_transport(Device.parse(args.device)) as transport:
        root = transport.root()
        recover(transport, on_wait=say)
        Depot(transport).clean()
    if args.json:
        print_json({"device": args.device, "removed": root})
    else:
        out().print(f"removed {root} from {args.device}", markup=False, soft_wrap=True)
    return 0


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_text(part)}" for key, part in value.items() if part is not None)
    if isinstance(value, (list, tuple)) and any(isinstance(part, dict) for part in value):
        return "; ".join(_text(part) for part in value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or "-"
    return "-" if value in (None, "") else str(value)
