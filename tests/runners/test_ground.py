"""What a pushed program may do there: asked before a push, refused with the reason, and nothing is left."""

import dataclasses
from pathlib import Path

import pytest

from edgekit.errors import DeviceUnfitError, ProtocolError
from edgekit.runners import provision
from edgekit.runners.depot import Depot
from edgekit.runners.ground import Ground, check_ground, inspect_ground
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport.command import CommandResult

GOOD = Ground(runs=True, seccomp=0, context="u:r:shell:s0", folder="/data/local/tmp/edgekit")
PHONE = {"ro.build.version.release": "14", "libc": None, "libstdcxx": None, "python": None}


@pytest.mark.parametrize("there", [False, True])
def test_this_machine_tells_and_nothing_stays(local, there):
    root = Path(local.root())
    if there:
        root.mkdir(parents=True)
    before = sorted(root.parents[1].rglob("*"))
    ground = inspect_ground(local)
    assert (ground.runs, ground.folder) == (True, str(root))
    assert ground.seccomp in {0, 2}
    assert root.exists() is there
    assert sorted(root.parents[1].rglob("*")) == before


def test_a_folder_that_can_not_be_made_is_no_ground(local, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(type(local), "root", lambda _: str(tmp_path / "file" / "edgekit"))
    assert inspect_ground(local).runs is False
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("changes", "selinux", "said"),
    [
        (
            {"seccomp": 2},
            "",
            "seccomp mode is 2, a filter is on; .*set_robust_list, rseq.*: reach a phone by adb",
        ),
        ({"seccomp": None}, "", "seccomp mode is not known"),
        ({"runs": False}, "", "nothing may be executed in /data/local/tmp/edgekit: log in"),
        ({"runs": False}, "enforcing", "SELinux is enforcing there, for u:r:shell:s0"),
        ({"runs": False, "context": ""}, "enforcing", "for a shell unnamed"),
    ],
)
def test_what_does_not_bear_is_refused_with_the_reason_and_the_next_step(make_facts, changes, selinux, said):
    facts = dataclasses.replace(make_facts(), selinux=selinux)
    with pytest.raises(DeviceUnfitError, match=f"^adb://phone: .*{said}"):
        check_ground(dataclasses.replace(GOOD, **changes), facts, "adb://phone")
    assert check_ground(GOOD, facts, "adb://phone") is None


@pytest.mark.parametrize("told", [b"", b"hello\nend\n", b"edgekit-ground 1\nseccomp 0\n"])
def test_what_can_not_be_read_is_no_answer(local, monkeypatch, told):
    answer = CommandResult(argv=("sh",), exit_code=0, stdout=told, stderr=b"", duration_s=0.1)
    monkeypatch.setattr(type(local), "run", lambda *_, **__: answer)
    with pytest.raises(ProtocolError, match="can't be read"):
        inspect_ground(local)


def test_a_hostile_answer_stays_within_bounds(local, monkeypatch):
    told = (
        b"edgekit-ground 1\nseccomp 99999999999999\ncontext \x1b[31m;rm\xff"
        + b"x" * 9000
        + b"\nexec no\nend\n"
    )
    answer = CommandResult(argv=("sh",), exit_code=0, stdout=told, stderr=b"", duration_s=0.1)
    monkeypatch.setattr(type(local), "run", lambda *_, **__: answer)
    ground = inspect_ground(local)
    assert (ground.runs, ground.seccomp, len(ground.context)) == (False, None, 120)
    assert ground.context.isprintable()
    assert set(ground.to_json()) == {"runs", "seccomp", "context", "folder"}


def test_a_phone_whose_ground_does_not_bear_is_pushed_nothing(local, make_facts, monkeypatch, tmp_path):
    monkeypatch.setattr(provision, "inspect_ground", lambda _: dataclasses.replace(GOOD, seccomp=2))
    with pytest.raises(DeviceUnfitError, match="seccomp"):
        provision.prepare(
            local, make_facts(**PHONE), RUNTIMES.get("onnxruntime"), Depot(local), cache=tmp_path / "wheels"
        )
    assert not Path(local.root()).exists()
    assert not (tmp_path / "wheels").exists()  # nothing was fetched for it either


def test_libraries_aligned_to_less_than_a_page_are_pushed_nowhere(local, make_facts, tmp_path):
    facts = dataclasses.replace(make_facts(machine="x86_64", python=None), page_size=1 << 20)
    with pytest.raises(
        DeviceUnfitError, match=r"edgekit_runner-x86_64 is aligned to \d+ bytes, a page .* 1048576"
    ):
        provision.prepare(local, facts, RUNTIMES.get("null"), Depot(local), cache=tmp_path / "wheels")
    assert not (Path(local.root()) / "store").exists()
