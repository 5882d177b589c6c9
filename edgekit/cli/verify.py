"""`edgekit verify`: are a bundle's artifacts what they were, and right, here and on a device?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.output import out, print_json
from edgekit.cli.parser import add_command
from edgekit.cli.progress import Progress, steps_shown

if TYPE_CHECKING:
    from argparse import Namespace


def add_commands(commands: Any) -> None:
    """Add the commands of this file."""
    parser = add_command(commands, "verify", "check a bundle's files and run its golden inputs again", verify)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder made by edgekit convert")
    parser.add_argument("--images", type=Path, metavar="DIR", help="measure accuracy on these images too")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="CSV of file,label for --images; without it each image's folder is its label",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="use N images at most")
    parser.add_argument("--device", metavar="D", help="run the golden inputs on this device instead")


def verify(args: Namespace) -> int:
    """Verify a bundle on the host, or on a device."""
    return _on_device(args) if args.device else _on_host(args)


def _on_host(args: Namespace) -> int:
    from edgekit.bundle import Bundle
    from edgekit.convert.verify import verify_bundle

    bundle = Bundle.load(args.bundle)
    with Progress(quiet=args.json) as progress:
        rows = verify_bundle(
            bundle,
            images=args.images,
            labels=args.labels,
            limit=args.limit,
            on_step=steps_shown(progress),
        )
    if args.json:
        print_json({"bundle": str(bundle.root), "artifacts": [row.to_json() for row in rows]})
    else:
        from edgekit.report.table import print_table

        shown = [row.cells() for row in rows]
        columns = ("recipe", "files", "signal to error", "top-1 as source", "accuracy", "agreement", "result")
        print_table(out(), f"{bundle.source.name} in {bundle.root}", columns, shown, notes=[])
    return 0 if all(row.ok for row in rows) else 1


def _on_device(args: Namespace) -> int:
    from edgekit.errors import UsageError

    if args.images is not None:
        raise UsageError("--images is measured on the host", hint="leave out --device, or --images")
    from edgekit.bench.execute import execute
    from edgekit.bench.plan import make_plan

    plan = make_plan([args.bundle], [args.device], runs=1, warmup=0, passes=("latency",))
    with Progress(quiet=args.json) as progress:
        result = execute(plan, None, on_progress=lambda p: progress.step(str(p)))
    rows = [
        {
            "recipe": run.artifact.recipe,
            "ok": run.parity is not None and run.parity.ok,
            "max_abs_error": None if run.parity is None else run.parity.max_abs_error,
            "tolerance": "" if run.parity is None else run.parity.tolerance,
        }
        for run in result.runs
    ]
    if args.json:
        print_json({"bundle": str(args.bundle), "device": args.device, "artifacts": rows})
    else:
        from edgekit.report.table import print_table

        shown = [tuple("-" if cell is None else str(cell) for cell in row.values()) for row in rows]
        print_table(
            out(),
            f"{args.bundle} on {args.device}",
            ("recipe", "right", "largest error", "tolerance"),
            shown,
            notes=[f"{skip.recipe}: {skip.reason}" for skip in result.skipped],
        )
    return 0 if rows and all(row["ok"] for row in rows) and not result.failed else 1
