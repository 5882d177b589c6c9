"""`edgekit devices probe D`: what a device is, before anything is pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json
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


def devices_clean(args: Namespace) -> int:
    """Remove EdgeKit's folder from a device."""
    from edgekit.runners.depot import Depot
    from edgekit.runners.transport import open_transport
    from edgekit.targets import Device

    with open_transport(Device.parse(args.device)) as transport:
        root = transport.root()
        Depot(transport).clean()
    if args.json:
        print_json({"device": args.device, "removed": root})
    else:
        out().print(f"removed {root} from {args.device}", markup=False)
    return 0


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or "-"
    return "-" if value in (None, "") else str(value)
