"""`edgekit zoo list`, `edgekit targets list | show`, `edgekit recipes`: what there is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json
from edgekit.cli.parser import add_command, add_group

if TYPE_CHECKING:
    from argparse import Namespace


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    zoo = add_group(commands, "zoo", "the compact networks that EdgeKit builds itself")
    add_command(zoo, "list", "parameters, MACs, input and published accuracy of each network", zoo_list)
    targets = add_group(commands, "targets", "the kinds of devices that EdgeKit knows")
    add_command(targets, "list", "all of them", targets_list)
    show = add_command(targets, "show", "the facts of one, with their sources", targets_show)
    show.add_argument("name", metavar="NAME", help="as `edgekit targets list` prints it")


def zoo_list(args: Namespace) -> int:
    """Print the zoo."""
    from edgekit.report.table import print_table
    from edgekit.units import count_text
    from edgekit.zoo import describe, zoo_names

    entries = [describe(name) for name in zoo_names()]
    if args.json:
        print_json({"networks": [asdict(entry) for entry in entries]})
        return 0
    sources = list(dict.fromkeys(entry.top1_source for entry in entries if entry.top1_source))
    rows = [
        (
            entry.name,
            f"{entry.parameters:,}",
            count_text(entry.macs),
            f"{entry.resolution} x {entry.resolution}",
            "-" if entry.top1 is None else f"{entry.top1:.1f} %",
            f"[{sources.index(entry.top1_source) + 1}]" if entry.top1_source else "-",
        )
        for entry in entries
    ]
    columns = ("network", "parameters", "MACs", "input", "published top-1", "source")
    notes = [f"[{number}] {source}" for number, source in enumerate(sources, start=1)]
    notes.append("any resolution: add @N, as in mobilenet_v2_1.0@96")
    print_table(out(), "Zoo", columns, rows, notes=notes)
    return 0


def targets_list(args: Namespace) -> int:
    """Print all targets."""
    from edgekit.report.table import print_table
    from edgekit.targets import load_target, target_names

    targets = [load_target(name) for name in target_names()]
    if args.json:
        print_json({"targets": [asdict(target) for target in targets]})
        return 0
    rows = [
        (t.name, t.title, t.soc or "-", _cores(t.cores), ", ".join(t.transports), ", ".join(t.runtimes))
        for t in targets
    ]
    columns = ("target", "what", "SoC", "cores", "transports", "runtimes")
    print_table(out(), "Targets", columns, rows, notes=[])
    return 0


def targets_show(args: Namespace) -> int:
    """Print one target's facts."""
    from edgekit.report.table import print_table
    from edgekit.targets import load_target

    target = load_target(args.name)
    if args.json:
        print_json({"target": asdict(target)})
        return 0
    rows = [
        ("SoC", target.soc or "-"),
        ("system", f"{target.os}, {target.abi}"),
        ("cores", _cores(target.cores)),
        ("memory", ", ".join(f"{mib} MiB" for mib in target.memory_mib) or "-"),
        ("transports", ", ".join(target.transports)),
        ("runtimes", ", ".join(target.runtimes)),
        *((f"sensor: {s.measures}", f"{s.source}{' - ' + s.note if s.note else ''}") for s in target.sensors),
        *(("source", source) for source in target.sources),
    ]
    notes = [target.note] if target.note else []
    print_table(out(), target.title, ("fact", "value"), rows, notes=notes)
    return 0


def _cores(clusters: Any) -> str:
    return (
        " + ".join(f"{c.count} x {c.name}" + (f" {c.max_mhz} MHz" if c.max_mhz else "") for c in clusters)
        or "-"
    )
