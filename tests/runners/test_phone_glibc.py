"""A phone without Python: the native program through a glibc that was brought along; and what is refused."""

import numpy as np
import pytest

from edgekit.artifact import digest
from edgekit.errors import UsageError
from edgekit.runners import glibc, phone
from edgekit.runners.depot import Depot
from edgekit.runners.lines import output_array
from edgekit.runners.lock import own_lock
from edgekit.runners.program import native_program
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES, runtime_for
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

PHONE = {"ro.build.version.release": "14", "libc": None, "libstdcxx": None, "python": None}


@pytest.fixture
def locked(real_cache, monkeypatch):
    """The glibc of the lock, fetched where it is not kept, and no other."""
    monkeypatch.delenv(phone.FOLDER, raising=False)
    if native_program("aarch64") is None:
        pytest.skip("the native program is not built here")
    try:
        return phone.parts(real_cache)
    except UsageError as error:
        pytest.skip(f"the locked glibc can't be had here: {error}")


def test_a_folder_that_lacks_a_part_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(phone.FOLDER, str(tmp_path))
    with pytest.raises(UsageError, match=phone.LOADER):
        phone.parts()
    for name in phone.PARTS:
        (tmp_path / name).write_bytes(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0" + bytes(100))
    with pytest.raises(UsageError, match="not for aarch64"):
        phone.parts()


def test_the_lock_has_every_part_and_the_loader_is_the_first():
    assert tuple(part.name for part in own_lock().parts) == phone.PARTS


@pytest.mark.parametrize(
    ("runtime", "changes", "wanted"),
    [
        ("litert", PHONE, True),
        ("null", PHONE, True),
        ("null", PHONE | {"python": "/usr/bin/python3\t3.11\t64\tok"}, False),
        ("onnxruntime", PHONE | {"machine": "x86_64"}, False),
        ("onnxruntime", {}, False),
        ("onnxruntime", {"libc": "musl libc"}, True),
    ],
)
def test_what_needs_a_glibc_is_what_has_none(make_facts, runtime, changes, wanted):
    assert phone.needs_glibc(RUNTIMES.get(runtime), make_facts(**changes)) is wanted


def test_the_facts_are_those_of_the_lock_and_nothing_is_fetched(make_facts, monkeypatch):
    monkeypatch.delenv(phone.FOLDER, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    facts = phone.with_glibc(make_facts(**PHONE))
    assert (facts.system, facts.glibc, facts.libstdcxx) == ("linux", own_lock().glibc, own_lock().glibcxx)


def test_a_folder_of_the_user_s_tells_its_own_version(make_facts, monkeypatch, tmp_path, locked):
    for path in locked:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv(phone.FOLDER, str(tmp_path))
    assert phone.with_glibc(make_facts(**PHONE)).glibc == own_lock().glibc
    libc = tmp_path / "libc.so.6"
    libc.write_bytes(libc.read_bytes().replace(b"release version", b"no word of that"))
    with pytest.raises(UsageError, match="does not tell which glibc"):
        phone.with_glibc(make_facts(**PHONE))


def golden_outputs(events):
    return np.concatenate([output_array(e) for e in events if e["e"] == "output"])


@pytest.mark.adb
@pytest.mark.adbd
@pytest.mark.convert
@pytest.mark.usefixtures("adb")
@pytest.mark.parametrize("adb_server", ["bundled"], indirect=True)
@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_phone_says_what_the_host_says(adbd_phone_arm, request, real_cache, kind, locked):
    golden = request.getfixturevalue("golden")
    folder = request.getfixturevalue(kind)
    artifact = folder / f"float.{kind}"
    with open_transport(Device.parse(f"adb://{adbd_phone_arm.serial}")) as transport:
        try:
            with Runner(transport, runtime_for(kind), cache=real_cache) as runner:
                job = Job(run_id="run-0001", runs=5, warmup=1)
                events = list(runner.run(job, artifact, digest(artifact)[0], golden))
                loader, option, folders, _ = runner.prepare().command
            own = {
                transport.sha256(f"{at}/{path.name}")
                for at, path in zip(folders.split(":"), locked, strict=True)
            }
        finally:
            Depot(transport).clean()
    assert (loader.rpartition("/")[2], option) == (phone.LOADER, "--library-path")
    assert own == {part.sha256 for part in own_lock().parts}
    assert {event["e"] for event in events} >= {"hello", "output", "end"}
    expected = np.load(folder / "outputs.npy")
    told = golden_outputs(events).reshape(expected.shape)
    np.testing.assert_allclose(told, expected, rtol=0, atol=2e-5 * max(1.0, np.abs(expected).max()))


def test_without_apt_and_cache_the_next_step_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv(phone.FOLDER, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"no apt to fetch a glibc with: run `edgekit runtimes fetch glibc`"):
        phone.parts(tmp_path / "wheels")
    assert not glibc.place(tmp_path / "wheels").exists()
