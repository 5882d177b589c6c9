"""What dead processes left is cleared away; what users and living processes have is not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest

from edgekit.bundle import MANIFEST
from edgekit.convert.leftovers import abandoned, clear, is_unfinished, tidy, workplace

MINE = os.getpid()


@pytest.fixture(scope="module")
def dead():
    """The number of a process that is no more."""
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    return done.pid


@pytest.fixture
def alive():
    """The number of another process that is under way."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield child.pid
    child.communicate()


def part(folder, name, pid, *, file=False):
    path = folder / f".{name}.{pid}.part"
    if file:
        path.write_bytes(b"half")
    else:
        path.mkdir(parents=True)
        (path / "tflite-int8.tflite").write_bytes(b"half")
    return path


def test_the_workplace_lies_beside_the_bundle(tmp_path, monkeypatch):
    assert workplace(tmp_path / "b") == tmp_path / f".b.{MINE}.part"
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    assert workplace(Path("b")) == tmp_path / f".b.{MINE}.part"


def test_what_the_dead_left_goes_and_what_the_living_do_stays(tmp_path, dead, alive):
    out = tmp_path / "b"
    gone = [part(tmp_path, "b", dead), part(tmp_path, "b", MINE)]  # ours of an earlier call
    kept = [part(tmp_path, "b", alive), part(tmp_path, "c", dead)]
    assert sorted(abandoned(out)) == sorted(gone)
    clear(out)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    "name", ["b.1.part", ".b.part", ".b.x.part", ".b.-1.part", ".bb.1.part", ".b.1.part.bak", "b"]
)
def test_other_names_are_not_ours(name, tmp_path):
    (tmp_path / name).mkdir()
    clear(tmp_path / "b")
    assert (tmp_path / name).is_dir()


def test_a_number_that_no_process_can_have_is_dead(tmp_path):
    path = part(tmp_path, "b", 10**30)
    clear(tmp_path / "b")
    assert not path.exists()


def test_files_under_way_in_a_bundle_go(tmp_path, dead, alive):
    out = tmp_path / "b"
    (out / "golden").mkdir(parents=True)
    (out / MANIFEST).write_text("{}")
    gone = [part(out, "labels.txt", dead, file=True), part(out / "golden", "inputs.npy", dead, file=True)]
    kept = part(out, "labels.txt", alive, file=True)
    clear(out)
    assert not any(path.exists() for path in gone)
    assert kept.exists()
    assert (out / MANIFEST).exists()


def begun(out, dead):
    """A bundle that a process began and left without its manifest."""
    (out / "artifacts").mkdir(parents=True)
    (out / "artifacts" / "tflite-fp32.tflite").write_bytes(b"whole")
    (out / "golden").mkdir()
    (out / "labels.txt").write_text("one\n")
    return part(out.parent, out.name, dead)


def test_an_unfinished_bundle_is_emptied(tmp_path, dead):
    out = tmp_path / "b"
    place = begun(out, dead)
    assert is_unfinished(out)
    clear(out)
    assert list(out.iterdir()) == []
    assert not place.exists()
    assert not is_unfinished(out)


def test_a_whole_bundle_is_not(tmp_path, dead):
    out = tmp_path / "b"
    begun(out, dead)
    (out / MANIFEST).write_text("{}")
    assert not is_unfinished(out)
    clear(out)
    assert (out / "artifacts" / "tflite-fp32.tflite").exists()


def test_a_users_file_makes_it_the_users_folder(tmp_path, dead):
    out = tmp_path / "b"
    begun(out, dead)
    (out / "notes.txt").write_text("mine")
    assert not is_unfinished(out)
    clear(out)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "artifacts" / "tflite-fp32.tflite").exists()


def test_without_a_dead_process_nothing_is_unfinished(tmp_path, alive):
    out = tmp_path / "b"
    (out / "artifacts").mkdir(parents=True)
    part(tmp_path, "b", alive)
    assert not is_unfinished(out)
    clear(out)
    assert (out / "artifacts").is_dir()


def test_nothing_there_is_nothing_to_clear(tmp_path):
    assert abandoned(tmp_path / "no" / "b") == []
    clear(tmp_path / "no" / "b")
    assert not (tmp_path / "no").exists()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path, dead):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_bytes(b"x")
    (tmp_path / f".b.{dead}.part").symlink_to(tmp_path / "precious", target_is_directory=True)
    clear(tmp_path / "b")
    assert not (tmp_path / f".b.{dead}.part").is_symlink()
    assert (tmp_path / "precious" / "photo.jpg").exists()


@pytest.mark.convert
def test_tidying_leaves_what_the_manifest_names_and_what_is_not_ours(made, tmp_path):
    root = tmp_path / "b"
    shutil.copytree(made.bundle.root, root)
    bundle = dataclasses.replace(made.bundle, root=root)
    dropped = dataclasses.replace(
        bundle, artifacts=tuple(a for a in bundle.artifacts if a.recipe != "tflite-fp16")
    )
    users = [root / "artifacts" / "mine.tflite", root / "golden" / "readme.txt"]
    old = root / "golden" / "inputs-0123abcd.npy"
    for path in (*users, old):
        path.write_bytes(b"x")
    tidy(dropped)
    assert not (root / "artifacts" / "tflite-fp16.tflite").exists()
    assert not old.exists()
    assert all(path.exists() for path in users)
    for artifact in dropped.artifacts:
        assert dropped.path_of(artifact).exists()
    before = sorted(root.rglob("*"))
    tidy(dropped)
    assert sorted(root.rglob("*")) == before
