"""`edgekit runtimes`: what this host keeps to bring to devices, filled before there is no network."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json, say
from edgekit.cli.parser import add_command, add_group
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from edgekit.runners.stock import Item

_EXAMPLES = """\
edgekit runtimes fetch                             what the native program opens, and a glibc for phones
edgekit runtimes fetch onnxruntime -t raspberry-pi-5 -t pixel-8
edgekit runtimes fetch litert --python 3.11        what a Python 3.11 on the devices needs, too
edgekit runtimes fetch --from /media/stick         from a folder that holds the wheels and packages"""


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    runtimes = add_group(commands, "runtimes", "what is kept here to bring to devices")
    shown = add_command(runtimes, "list", "what the lock names, and what of it is kept here", runtimes_list)
    shown.add_argument("--kept", action="store_true", help="only what is kept")
    fetch = add_command(
        runtimes,
        "fetch",
        "fetch runtimes now, so that later runs need no network; each is held to the lock's sha256",
        runtimes_fetch,
        epilog=_EXAMPLES,
    )
    fetch.add_argument("names", nargs="*", metavar="NAME[==VERSION]", help="onnxruntime, litert, glibc (all)")
    fetch.add_argument(
        "-t",
        "--target",
        action="append",
        default=[],
        metavar="T",
        help="for this kind of device; repeat (any)",
    )
    fetch.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="3.N",
        help="also what a device with this Python needs; repeat",
    )
    fetch.add_argument("--all", action="store_true", help="all that the lock names: about a gigabyte")
    fetch.add_argument("--from", dest="source", metavar="DIR", help="a folder with the files, and no network")


def runtimes_list(args: Namespace) -> int:
    """Print what the lock names and what of it is kept."""
    from edgekit.report.table import print_table
    from edgekit.runners.stock import stock
    from edgekit.runners.wheels import cache_folder
    from edgekit.units import bytes_text

    items = [item for item in stock() if item.bytes or not args.kept]
    folder = cache_folder().parent
    if args.json:
        print_json({"folder": str(folder), "items": [item.to_json() for item in items]})
        return 0
    rows = [
        (*_named(item), bytes_text(item.bytes) if item.bytes else "missing", item.sha256[:12])
        for item in items
    ]
    total = bytes_text(sum(item.bytes for item in items))
    notes = [f"kept in {folder}: {total}", "fetch what is missing: edgekit runtimes fetch"]
    print_table(
        out(), "Runtimes", ("name", "version", "machine", "Python", "kept", "sha256"), rows, notes=notes
    )
    return 0


def runtimes_fetch(args: Namespace) -> int:
    """Fetch what was asked for; the first that can't be had ends it, and what came before is kept."""
    from edgekit.runners.stock import bring, everything, select
    from edgekit.units import bytes_text

    if args.source is not None and not Path(args.source).is_dir():
        raise UsageError(f"--from {args.source} is no folder", hint="name the folder that holds the files")
    if args.all and (args.names or args.target or args.python):
        raise UsageError("--all leaves nothing to choose", hint="leave the names, --target and --python out")
    abis, phones = _machines(args.target)
    pythons = [_minor(text) for text in args.python]
    wanted = everything() if args.all else select(args.names, abis=abis, pythons=pythons, phones=phones)
    done: list[tuple[Item, bool]] = []
    for number, one in enumerate(wanted, start=1):
        pin, minor, abi = one
        say(f"{number}/{len(wanted)} {pin}{f' for Python 3.{minor}' if minor else ''} on {abi}")
        done.append(bring(one, source=Path(args.source) if args.source else None))
        item, fresh = done[-1]
        origin = (args.source or item.source) if fresh else "kept here before"
        say(f"    {origin}, {bytes_text(item.bytes)}, sha256 {item.sha256[:12]} as locked")
    if args.json:
        print_json({"items": [{**item.to_json(), "fetched": fresh} for item, fresh in done]})
        return 0
    fetched = sum(fresh for _, fresh in done)
    total = bytes_text(sum(item.bytes for item, _ in done))
    out().print(f"{fetched} fetched, {len(done) - fetched} kept before, {total} in all", markup=False)
    return 0


def _machines(targets: Sequence[str]) -> tuple[list[str], bool]:
    """Return the machines of some targets, and whether one of them lacks a glibc."""
    from edgekit.runners.stock import ABIS
    from edgekit.targets import load_target

    found = [load_target(name) for name in targets]
    for target in found:
        if target.os == "macos":
            raise UsageError(f"nothing is brought to {target.name}", hint="install coremltools there")
    abis = [platform.machine() if target.abi == "any" else target.abi for target in found]
    return abis or list(ABIS), not found or any(target.os == "android" for target in found)


def _minor(text: str) -> int:
    major, _, minor = text.partition(".")
    if major != "3" or not minor.isascii() or not minor.isdigit():
        raise UsageError(f"--python {text!r} is no Python 3", hint="give it as 3.11")
    return int(minor)


def _named(item: Item) -> tuple[str, str, str, str]:
    return item.name, item.version, item.abi, f"3.{item.python}" if item.python else "-"
