"""`edgekit devices`: what a device is, before anything is pushed; and what was left there, given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command, add_group

if TYPE_CHECKING:
    from argparse import Namespace

    from edgekit.runners.facts import Facts
    from edgekit.runners.transport import Transport
    from edgekit.targets import Target


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
    clean = add_command(
        devices, "clean", "remove what EdgeKit left on a device, and say what it was", devices_clean
    )
    clean.add_argument("device", metavar="D", help="local://, ssh://[user@]host[:port] or adb://serial")
    clean.add_argument(
        "--only", metavar="NAME", help="only this: onnxruntime, onnxruntime==1.32.0, glibc, run"
    )
    clean.add_argument("-n", "--dry-run", action="store_true", help="remove nothing, say what there is")


def devices_probe(args: Namespace) -> int:
    """Print a device's facts, its sensors and which program would run each runtime."""
    from edgekit.runners.check import describe_device
    from edgekit.targets import Device

    found = describe_device(Device.parse(args.device), look=_sensors)
    if args.json:
        print_json({"device": args.device, **found})
        return 0
    from edgekit.report.table import print_table

    rows = [(key, _text(value)) for key, value in found["facts"].items()]
    rows += [(key, _text(value)) for key, value in (found["ground"] or {}).items()]
    rows.append(("power sensor", found["sensors"]["power"] or found["sensors"]["reason"]))
    rows += [(f"runtime: {name}", _judged(judged)) for name, judged in found["runtimes"].items()]
    title = f"{args.device}: {found['target'] or 'no known target'}"
    print_table(out(), title, ("fact", "value"), rows, notes=[])
    return 0


def _sensors(transport: Transport, facts: Facts, target: Target | None) -> dict[str, Any]:
    """Return what a device's power would be measured with, or why it can't be."""
    from edgekit.probes.find import Found, find

    found = find(transport, facts.to_json(), target)
    if isinstance(found, Found):
        others = [watch.source for watch in found.others]
        return {"sensors": {"power": found.watch.source, "others": others, "reason": ""}}
    return {"sensors": {"power": "", "others": [], "reason": found.reason}}


def _judged(judged: dict[str, Any]) -> str:
    """Return which program would run a runtime, what is brought for it, and why it is not another."""
    if judged["program"] == "none":
        return f"none: {judged['why']}" + (f": {judged['next']}" if judged["next"] else "")
    kept = "kept here" if judged["kept"] else "to be fetched"
    brings = f", {judged['brings']} ({kept})" if judged["brings"] else ""
    return f"{judged['program']}{brings}" + (f"; not native: {judged['why']}" if judged["why"] else "")


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
    """Remove EdgeKit's folder from a device, or a part of it, once its state is what it was."""
    from edgekit.runners import left
    from edgekit.runners.depot import Depot
    from edgekit.runners.state import recover
    from edgekit.runners.transport import open_transport
    from edgekit.targets import Device

    with open_transport(Device.parse(args.device)) as transport:
        root = transport.root()
        found = left.look(transport)
        meant = left.only(found, args.only) if args.only else found
        if not args.dry_run:
            recover(transport, on_wait=say)
            if args.only:
                left.remove(transport, meant)
            else:
                Depot(transport).clean()
    items = [{"what": one.what, "version": one.version, "bytes": one.bytes} for one in meant]
    if args.json:
        removed = "" if args.dry_run else (args.only or root)
        print_json({"device": args.device, "folder": root, "removed": removed, "items": items})
        return 0
    from edgekit.report.table import print_table
    from edgekit.units import bytes_text

    rows = [(one.what, one.version or "-", str(len(one.paths)), bytes_text(one.bytes)) for one in meant]
    print_table(out(), "", ("what", "version", "places", "size"), rows)
    what = f"{args.only} in {root}" if args.only else root
    done = f"{what} would be removed from" if args.dry_run else f"removed {what} from"
    out().print(f"{done} {args.device}", markup=False, soft_wrap=True)
    return 0


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_text(part)}" for key, part in value.items() if part is not None)
    if isinstance(value, (list, tuple)) and any(isinstance(part, dict) for part in value):
        return "; ".join(_text(part) for part in value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or "-"
    return "-" if value in (None, "") else str(value)
