"""EdgeKit's folder on a device, over this machine and over the fake one."""

import os
import stat
from pathlib import Path

import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceFullError, DeviceLostError, DeviceUnfitError, ProtocolError, UsageError
from edgekit.runners.depot import Depot
from edgekit.runners.facts import inspect
from edgekit.runners.transport import CommandResult, open_transport
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device


@pytest.fixture(params=["local", "fake"])
def depot(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse(f"{request.param}://")) as transport:
        yield Depot(transport)


@pytest.fixture
def thing(tmp_path):
    path = tmp_path / "tflite-int8.tflite"
    path.write_bytes(bytes(range(256)) * 50)
    return path


@pytest.fixture
def pushes(monkeypatch, depot):
    """What is really pushed."""
    done, push = [], type(depot._transport).push

    def counted(self, local, remote, **options):
        done.append(local.name)
        return push(self, local, remote, **options)

    monkeypatch.setattr(type(depot._transport), "push", counted)
    return done


def say_ok(site):
    return "1.0"


def test_content_lies_under_its_sha256_for_its_owner_alone(depot, thing):
    remote = Path(depot.put(thing))
    assert remote.read_bytes() == thing.read_bytes()
    assert remote.parent.name == digest(thing)[0]
    assert stat.S_IMODE(Path(depot.root).stat().st_mode) == 0o700


def test_content_that_is_there_is_not_pushed_again(depot, thing, pushes):
    assert depot.put(thing) == depot.put(thing)
    assert pushes == [thing.name]


@pytest.mark.parametrize("harm", ["change", "cut", "remove"])
def test_content_that_was_harmed_is_pushed_again(depot, thing, pushes, harm):
    remote = Path(depot.put(thing))
    if harm == "remove":
        remote.unlink()
    else:
        data = remote.read_bytes()
        remote.write_bytes(data[:-1] + b"!" if harm == "change" else data[:100])
    depot.put(thing)
    assert remote.read_bytes() == thing.read_bytes()
    assert pushes == [thing.name] * 2


def test_several_files_are_looked_for_at_once(depot, thing, tmp_path, pushes):
    other = tmp_path / "odd name;$(x).bin"
    other.write_bytes(b"")
    first = depot.put_all([(thing, None), (other, None)])
    assert depot.put_all([(thing, digest(thing)[0]), (other, None)]) == first
    assert sorted(pushes) == sorted([thing.name, other.name])
    assert [Path(path).read_bytes() for path in first] == [thing.read_bytes(), b""]


def test_an_artifact_that_is_not_what_it_was_is_refused_before_a_push(depot, thing, pushes):
    with pytest.raises(UsageError, match="expected 000000000000"):
        depot.put(thing, "0" * 64)
    with pytest.raises(UsageError, match="is no file"):
        depot.put(thing.with_name("nothing"))
    assert pushes == []
    assert not Path(depot.root).exists()


def test_no_room_is_said_before_a_push(depot, thing, pushes, monkeypatch):
    monkeypatch.setattr(depot, "_look", lambda remotes, *_: ([""] * len(remotes), 1 << 20, ""))
    with pytest.raises(
        DeviceFullError, match=r"no room for tflite-int8.tflite: it takes 12.5 KiB, 1.0 MiB are free"
    ):
        depot.put(thing)
    assert pushes == []


def test_files_that_work_are_tried_once(depot, thing, tmp_path, pushes):
    other = tmp_path / "library.so"
    other.write_bytes(b"library")
    tried = []

    def trial(stored):
        assert all(stat.S_IMODE(Path(path).stat().st_mode) == 0o700 for path in stored)
        tried.append(stored)
        return f"1.{len(tried)}"

    first = depot.put_working([thing, other], "null", trial)
    assert first == (tried[0], "1.1")
    assert depot.put_working([thing, other], "null", trial) == first
    assert len(tried) == 1
    assert depot.put_working([thing, other], "onnxruntime", trial)[1] == "1.2", "for another purpose"
    Path(first[0][1]).unlink()
    assert depot.put_working([thing, other], "null", trial) == (first[0], "1.3"), "what was pushed is tried"
    assert depot.put_working([thing, other], "null", trial)[1] == "1.3"
    assert pushes == [thing.name, other.name, other.name]
    assert sum(path.startswith("site/") for path, _ in depot.listing()) == 2


def test_what_does_not_work_is_tried_again(depot, thing):
    def fails(_):
        raise DeviceUnfitError(depot._transport.device.address, "it does not load", hint="none")

    for _ in range(2):
        with pytest.raises(DeviceUnfitError, match="does not load"):
            depot.put_working([thing], "null", fails)
    assert depot.put_working([thing], "null", lambda _: "2.0")[1] == "2.0"


def test_a_command_goes_along_and_is_heard_first(depot, thing, pushes):
    told = []
    remotes = depot.put_all(
        [(thing, None)],
        along=(["echo", "first"], lambda result: told.append((result.text, list(pushes)))),
    )
    assert Path(remotes[0]).read_bytes() == thing.read_bytes()
    assert told == [("first\n", [])]

    def refuse(_):
        raise ProtocolError("no")

    thing.write_bytes(b"new")
    with pytest.raises(ProtocolError):
        depot.put_all([(thing, None)], along=(["true"], refuse))
    assert pushes == [thing.name], "nothing is pushed before it was heard"


def test_a_file_that_has_changed_is_read_again(depot, thing, monkeypatch):
    read = []
    monkeypatch.setattr("edgekit.runners.depot.digest", lambda path: read.append(path) or digest(path))
    for _ in range(2):
        depot.put(thing)
    assert len(read) == 2, "it was changed just now: its time would not tell another change"
    old = thing.stat().st_mtime - 60
    os.utime(thing, (old, old))
    monkeypatch.setattr("edgekit.runners.depot._SETTLED_NS", -(10**18))
    for _ in range(3):
        depot.put(thing)
    assert len(read) == 3
    data = thing.read_bytes()
    thing.write_bytes(data[::-1])
    os.utime(thing, (old, old))  # as a copy that keeps times: the change itself has a time, too
    assert Path(depot.put(thing)).read_bytes() == data[::-1]


def test_an_answer_that_is_none_is_refused(depot, thing, monkeypatch):
    answer = CommandResult(
        argv=("sh",), exit_code=0, stdout=b"Welcome!\nfree 5\n", stderr=b"", duration_s=0.0
    )
    monkeypatch.setattr(depot._transport, "run", lambda *_, **__: answer)
    with pytest.raises(ProtocolError):
        depot.put(thing)


def test_a_push_that_arrives_changed_leaves_nothing(thing):
    with FakeTransport(Device.parse("fake://"), faults=Faults(lies_about_sha256=True)) as transport:
        with pytest.raises(DeviceLostError, match="arrived changed"):
            Depot(transport).put(thing)
        assert not [path for path in Path(transport.root()).rglob("*") if path.is_file()]


# --- runtimes -----------------------------------------------------------------------------------------
@pytest.fixture
def python(depot):
    return inspect(depot._transport).python


def test_wheels_are_unpacked_once(depot, python, make_wheel, pushes):
    wheels = [make_wheel("one", files=[("one.py", b"A = 1\n")]), make_wheel("two")]
    tried = []

    def trial(site):
        tried.append(site)
        assert (Path(site) / "one.py").is_file()
        return "3.2.1"

    site, version = depot.install(wheels, python=python, trial=trial)
    assert (Path(site) / "toy.py").read_text() == "VALUE = 7\n"
    assert version == "3.2.1"
    assert depot.install(list(reversed(wheels)), python=python, trial=trial) == (site, "3.2.1")
    assert (len(tried), len(pushes)) == (1, 2)
    assert not list(Path(depot.root).rglob("*.whl"))
    assert [path.name for path in Path(site).parent.iterdir()] == [Path(site).name]


def test_another_set_of_wheels_is_another_folder(depot, python, make_wheel):
    one, _ = depot.install([make_wheel("one")], python=python, trial=say_ok)
    two, _ = depot.install([make_wheel("two")], python=python, trial=say_ok)
    assert one != two


def test_a_trial_that_fails_leaves_no_runtime(depot, python, make_wheel):
    def trial(site):
        raise DeviceUnfitError("here", "it does not load")

    with pytest.raises(DeviceUnfitError):
        depot.install([make_wheel()], python=python, trial=trial)
    assert not list((Path(depot.root) / "site").iterdir())


def test_what_a_killed_host_left_half_unpacked_is_done_again(depot, python, make_wheel):
    wheel = make_wheel()
    site, _ = depot.install([wheel], python=python, trial=say_ok)
    half = Path(site)
    (half / ".edgekit").unlink()
    (half / "toy.py").unlink()
    again, _ = depot.install([wheel], python=python, trial=say_ok)
    assert again == site
    assert (half / "toy.py").is_file()


def test_a_python_that_can_not_unpack_is_told_with_its_words(depot, make_wheel, tmp_path):
    with pytest.raises(DeviceUnfitError, match="could not be unpacked"):
        depot.install([make_wheel()], python="/bin/false", trial=say_ok)
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(UsageError, match="is no wheel"):
        depot.install([broken], python="/bin/false", trial=say_ok)
    assert not list((Path(depot.root) / "site").glob("*"))


def test_no_room_for_a_runtime_is_said_before_a_push(depot, make_wheel, pushes, monkeypatch):
    monkeypatch.setattr(depot, "_look", lambda remotes, *_: ([""] * len(remotes), 0, ""))
    with pytest.raises(DeviceFullError, match="no room for the runtime"):
        depot.install([make_wheel()], python="/bin/false", trial=say_ok)
    assert pushes == []


# --- the whole of it ----------------------------------------------------------------------------------
def test_listing_tells_what_lies_there(depot, thing):
    assert depot.listing() == ()
    depot.put(thing)
    ((path, size),) = depot.listing()
    assert path == f"store/{digest(thing)[0]}"
    assert size >= thing.stat().st_size


def test_clean_removes_it_and_nothing_else(depot, thing):
    depot.put(thing)
    beside = Path(depot.root).parent / "somebody-else's"
    beside.write_text("x")
    depot.clean()
    depot.clean()
    assert not Path(depot.root).exists()
    assert beside.read_text() == "x"


@pytest.mark.parametrize("root", ["/", "", "/root", "edgekit", "/data/edgekit/../..", "/home/pi"])
def test_clean_refuses_what_does_not_look_like_ours(depot, monkeypatch, root):
    monkeypatch.setattr(depot._transport, "root", lambda: root)
    monkeypatch.setattr(depot._transport, "run", lambda *_, **__: pytest.fail("something was run"))
    with pytest.raises(UsageError, match="does not look like"):
        depot.clean()
