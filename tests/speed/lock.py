"""Write the wheels of runners/runtimes.lock again, from the runtimes' own files and what pip finds for them.

    python tests/speed/lock.py          prints what changed; the glibc's part stays as it is

pip tells a wheel's sha256 without fetching it; each is asked for once for an old and once for a new glibc, as
some releases have a wheel for either.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from edgekit.runners.lock import LOCK, Lock
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.wheels import platforms, requirements

GLIBCS = ((2, 17), (2, 39))
BEGIN, END = "wheels = [\n", "]\n\n# The glibc"


def pins():
    """Return what devices may need, as (requirement, minor version of Python, machine)."""
    builds = [build for name in RUNTIMES for build in RUNTIMES.get(name).builds]
    return sorted({
        (pin, minor, abi)
        for build in builds
        for abi in build.abis
        for minor in range(build.python[0], build.python[1] + 1)
        for pin in requirements(build, minor)
    })  # fmt: skip


def ask(pin, minor, abi, glibc):
    """Return file name and sha256 of the wheel that pip would take."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        tags = [part for tag in platforms(abi, glibc) for part in ("--platform", tag)]
        argv = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
        ]
        argv += ["--report", str(report), "--target", f"{scratch}/none", "--only-binary=:all:", *tags]
        argv += ["--implementation", "cp", "--python-version", f"3.{minor}", pin]
        subprocess.run(argv, check=True)
        (found,) = json.loads(report.read_text())["install"]
    info = found["download_info"]
    return info["url"].partition("#")[0].rpartition("/")[2], info["archive_info"]["hashes"]["sha256"]


def needs():
    """Return glibc and GLIBCXX by (distribution, version, machine), as the runtimes' files have them."""
    runtimes = [RUNTIMES.get(name) for name in RUNTIMES]
    every = [one for runtime in runtimes for one in (*runtime.builds, *runtime.libraries)]
    return {(f"{one.distribution}=={one.version}", abi): one for one in every for abi in one.abis}


def row(file, sha256):
    """Return one line of the lock."""
    pin, abi = (
        "==".join(file.split("-")[:2]).replace("_", "-"),
        file.removesuffix(".whl").rpartition("manylinux")[2],
    )
    one = next(
        (one for (name, machine), one in needs().items() if name == pin and abi.endswith(machine)), None
    )
    told = f'glibc = "{one.glibc[0]}.{one.glibc[1]}", glibcxx = {one.glibcxx}, ' if one else ""
    return f'  {{ file = "{file}", {told}sha256 = "{sha256}" }},\n'


def order(file):
    """Sort as people read: by name, release as numbers, Python."""
    name, version, python = file.split("-")[:3]
    return name, [int(part) for part in version.split(".")], int(python.removeprefix("cp3")), file


def main():
    """Ask for all, and write the file."""
    found = dict(ask(*pin, glibc) for pin in pins() for glibc in GLIBCS)
    text = LOCK.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    new = (
        head
        + BEGIN
        + "".join(row(file, found[file]) for file in sorted(found, key=order))
        + END
        + rest.split(END, 1)[1]
    )
    Lock.read(new)
    for line in sorted(set(new.splitlines()) ^ set(text.splitlines())):
        sys.stdout.write(f"{'+' if line in new else '-'} {line.strip()}\n")
    LOCK.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
