"""Builds the native programs when a wheel is built, so that a user needs no compiler.

The same sources make the same bytes: one compiler, pinned in pyproject.toml, for every machine, with a linker
that writes neither time nor path.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from setuptools.command.build_py import build_py  # type: ignore[import-untyped]

NATIVE = Path("runners/on_device/native")
TARGETS = {"aarch64": "aarch64-linux-gnu.2.17", "x86_64": "x86_64-linux-gnu.2.17"}
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-s")


def build_programs(into: Path) -> None:
    """Compile the program for every machine into a folder, with a list of their sha256.

    Args:
        into: the folder; made where it is not there.

    Raises:
        subprocess.CalledProcessError: the compiler said no.
    """
    into.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in NATIVE.glob("*.c"))
    lines = []
    for machine, target in TARGETS.items():
        path = into / f"edgekit_runner-{machine}"
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target]
        subprocess.run([*compiler, *FLAGS, "-o", str(path), *sources, "-ldl", "-lpthread", "-lm"], check=True)
        path.chmod(0o644)
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (into / "SHA256SUMS").write_text("".join(lines))


class BuildPrograms(build_py):  # type: ignore[misc]
    """Copies the modules, then compiles; an editable install finds the programs in the source's folder."""

    def run(self) -> None:
        """Do both."""
        super().run()
        build_programs(
            NATIVE / "bin" if self.editable_mode else Path(self.build_lib, "edgekit", NATIVE, "bin")
        )
