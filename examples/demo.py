"""The main job on real input, step by step: what `make demo` runs.

A trained network and real images go through every recipe; each artifact's accuracy is measured on images
held back from training; then the artifacts run on this machine and, where one can be had, on an aarch64
userland over a real OpenSSH server. It ends with the table and the path of the report.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "digits"))
CHECKPOINT = HERE / "digits" / "digits_mobilenet_v1_0.25.keras"


def main() -> int:
    """Run the demo; return the exit code of its first step that failed, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("demo"), help="folder to write (default demo)")
    parser.add_argument("--runs", type=int, default=200, help="timed invocations (default 200)")
    parser.add_argument("--no-board", action="store_true", help="leave the aarch64 userland out")
    args = parser.parse_args()
    start = time.monotonic()
    title(1, "real images: 1,797 scanned digits, a quarter of each class held back from training")
    shutil.rmtree(args.out, ignore_errors=True)
    import data

    calibrate, held_back = data.write_folders(args.out)
    print(f"  {len(list(calibrate.rglob('*.png')))} to calibrate with in {calibrate}")
    print(f"  {len(list(held_back.rglob('*.png')))} held back in {held_back}")
    bundle = args.out / "bundle"
    title(2, f"convert {CHECKPOINT.name}, trained by examples/digits/train.py, to every recipe")
    labels = args.out / "labels.txt"
    edgekit("convert", CHECKPOINT, "--preprocess", "signed", "--calibrate", calibrate,
            "--labels", labels, "-o", bundle)  # fmt: skip
    title(3, "measure each artifact's accuracy on the images held back")
    edgekit("verify", bundle, "--images", held_back)
    title(4, "run them on this machine and on an aarch64 userland over SSH")
    store = args.out / "runs.sqlite"
    with aarch64_device(wanted=not args.no_board) as devices:
        flags = [word for device in ("local://", *devices) for word in ("--device", device)]
        edgekit("bench", bundle, *flags, "--runs", args.runs, "--store", store)
    title(5, "write the report")
    report = args.out / "report.html"
    edgekit("report", "--store", store, "-o", report, "--title", "Digits on MobileNet v1 0.25")
    print(f"\nDone in {time.monotonic() - start:.0f} s. The report: {report.resolve()}")
    return 0


def title(number: int, text: str) -> None:
    """Print a step's headline."""
    print(f"\n{number}/5  {text}", flush=True)


def edgekit(*words: object) -> None:
    """Show an edgekit command, run it, and end the demo with its exit code if it fails."""
    argv = [str(word) for word in words]
    print(f"$ edgekit {shlex.join(argv)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "edgekit.cli.main", *argv], check=False)
    if done.returncode:
        sys.exit(done.returncode)


@contextlib.contextmanager
def aarch64_device(*, wanted: bool) -> Iterator[tuple[str, ...]]:
    """Start an aarch64 userland with OpenSSH where that can be done, and yield its address."""
    from edgekit.testing import board

    reason = board.unavailable() if wanted else "left out as asked"
    if reason:
        print(f"  no aarch64 userland: {reason}")
        yield ()
        return
    print("  starting an aarch64 userland with a real OpenSSH server (the first time builds it: a minute)")
    with board.Board() as running:
        os.environ["EDGEKIT_SSH_CONFIG"] = str(running.ssh_config)
        yield (running.address,)


if __name__ == "__main__":
    sys.exit(main())
