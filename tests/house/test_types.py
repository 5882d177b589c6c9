"""mypy, strict, over the tree as an installed wheel lays it out; ruff over everything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*argv, cwd):
    return subprocess.run([sys.executable, "-m", *argv], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def laid_out(tmp_path):
    """The mapped folders where an import finds them (from the root mypy would silently skip them)."""
    shutil.copytree(ROOT / "edgekit", tmp_path / "edgekit")
    for name in ("runners", "targets"):
        shutil.copytree(ROOT / name, tmp_path / "edgekit" / name, ignore=shutil.ignore_patterns("bin"))
    return tmp_path


def test_types_hold(laid_out):
    pytest.importorskip("mypy")
    done = run("mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "edgekit", cwd=laid_out)
    assert done.returncode == 0, done.stdout[-3000:]
    checked = int(done.stdout.split("no issues found in ")[1].split()[0])
    assert checked == len(list((laid_out / "edgekit").rglob("*.py")))


@pytest.mark.parametrize("words", [("check",), ("format", "--check")])
def test_the_linters_are_content(words):
    pytest.importorskip("ruff")
    done = run("ruff", *words, "--no-cache", ".", cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
