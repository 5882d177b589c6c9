"""The wheel holds what the folders hold, under the names that users import; nothing bare lands beside it."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgekit

ROOT = Path(__file__).parents[2]
PLACES = {"edgekit": "edgekit", "edgekit/runners": "runners", "edgekit/targets": "targets"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    tree = out / "tree"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-cache-dir",
            "-w",
            str(out),
            str(tree),
        ],
        check=True,
    )
    return next(out.glob("edgekit_sdk-*.whl"))


def test_the_wheel_has_every_module_and_data_file(wheel):
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    wanted = set()
    for package, folder in PLACES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add(f"{package}/{path.relative_to(ROOT / folder).as_posix()}")
    assert names == wanted


def test_nothing_bare_lands_in_site_packages(wheel):
    tops = {n.split("/")[0] for n in zipfile.ZipFile(wheel).namelist()}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"edgekit"}


def test_the_public_face_is_sorted_and_whole():
    assert edgekit.__all__ == sorted(edgekit.__all__)
    tree = ast.parse((ROOT / "edgekit/__init__.py").read_text(encoding="utf-8"))
    imported = [a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted(n for n in imported if n != "annotations") == edgekit.__all__


def test_the_top_level_is_what_the_design_fixed():
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    tops = {name.split("/")[0] for name in listed}
    fixed = {"pyproject.toml", "README.md", "Makefile", "LICENSE", ".ci", ".gitignore"}
    assert tops <= fixed | {"edgekit", "runners", "targets", "tests", "examples"}


def test_the_core_needs_five_distributions_at_most():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= 5
