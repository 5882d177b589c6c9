"""A phone without Python: the native program through a glibc that was brought along; and what is refused."""

import shutil

import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceUnfitError, UsageError
from edgekit.runners import phone
from edgekit.runners.depot import Depot
from edgekit.runners.program import native_program
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import runtime_for
from edgekit.runners.transport import open_transport
from edgekit.runners.transport.command import CommandResult
from edgekit.targets import Device
from edgekit.testing.adbd_fetch import CACHE


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """A glibc as a user copies it from a board: the kept ARM userland's."""
    roots = sorted((CACHE.parent / "board").glob("*/root"))
    if not roots or native_program("aarch64") is None:
        pytest.skip("no aarch64 userland is kept here, or the native program is not built")
    for name in phone.PARTS:
        found = [roots[0] / place / "aarch64-linux-gnu" / name for place in ("lib", "usr/lib")]
        shutil.copy(next(path for path in found if path.exists()), tmp_path / name)
    monkeypatch.setenv(phone.FOLDER, str(tmp_path))


def test_nothing_named_is_nothing_brought(monkeypatch):
    monkeypatch.delenv(phone.FOLDER, raising=False)
    assert phone.parts() == ()


def test_a_folder_that_lacks_a_part_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(phone.FOLDER, str(tmp_path))
    with pytest.raises(UsageError, match=phone.LOADER):
        phone.parts()
    for name in phone.PARTS:
        (tmp_path / name).write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0" + bytes(100))
    with pytest.raises(UsageError, match="not for aarch64"):
        phone.parts()


@pytest.mark.parametrize(
    ("told", "said"),
    [("seccomp 2\nexec\n", "seccomp"), ("seccomp \nexec\n", "seccomp"), ("seccomp 0\n", "may be executed")],
)
def test_ground_that_does_not_bear_is_refused(local, monkeypatch, told, said):
    answer = CommandResult(argv=("sh",), exit_code=0, stdout=told.encode(), stderr=b"", duration_s=0.1)
    monkeypatch.setattr(type(local), "run", lambda *_, **__: answer)
    with pytest.raises(DeviceUnfitError, match=said):
        phone.check_ground(local)


@pytest.mark.adb
@pytest.mark.adbd
@pytest.mark.convert
@pytest.mark.usefixtures("adb", "parts")
@pytest.mark.parametrize("adb_server", ["bundled"], indirect=True)
@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_phone_without_python_runs_it(adbd_phone_arm, request, golden, real_cache, kind):
    artifact = request.getfixturevalue(kind) / f"float.{kind}"
    with open_transport(Device.parse(f"adb://{adbd_phone_arm.serial}")) as transport:
        try:
            with Runner(transport, runtime_for(kind), cache=real_cache) as runner:
                job = Job(run_id="run-0001", runs=5, warmup=1)
                events = list(runner.run(job, artifact, digest(artifact)[0], golden))
                assert runner.prepare().command[1] == "--library-path"
        finally:
            Depot(transport).clean()
    assert {event["e"] for event in events} >= {"hello", "output", "end"}
