"""What a phone's shell has to do for runners: mksh and toybox, no Python, over a real adbd."""

import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceBusyError, DeviceUnfitError, UsageError
from edgekit.runners.depot import Depot
from edgekit.runners.facts import inspect
from edgekit.runners.follow import Pass
from edgekit.runners.lease import Lease
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import open_transport
from edgekit.targets import Device

pytestmark = [
    pytest.mark.adb,
    pytest.mark.adbd,
    pytest.mark.parametrize("adb_server", ["bundled"], indirect=True),
]


@pytest.fixture
def phone(adb, adbd_phone):
    if not adbd_phone.running:
        adbd_phone.start()
    with open_transport(Device.parse(f"adb://{adbd_phone.serial}")) as transport:
        yield transport
        Depot(transport).clean()


def test_it_says_what_it_is(phone):
    facts = inspect(phone)
    assert facts.machine
    assert (facts.python, facts.python_version, facts.transport) == ("", None, "adb")
    assert facts.free_bytes > 0
    assert len(facts.cpus) >= 1


def test_content_is_kept_and_removed(phone, tmp_path):
    path = tmp_path / "tflite-int8.tflite"
    path.write_bytes(bytes(range(256)) * 400)
    depot = Depot(phone)
    remote = depot.put(path)
    assert phone.sha256(remote) == digest(path)[0]
    assert depot.put(path) == remote
    assert [name for name, _ in depot.listing()] == [f"store/{digest(path)[0]}"]
    assert phone.check(["stat", "-c", "%a", depot.root]).text.strip() == "700"
    depot.clean()
    assert phone.run(["ls", depot.root]).exit_code != 0


def test_one_bench_at_a_time(phone):
    first, second = Lease(phone), Lease(phone)
    first.take(60)
    with pytest.raises(DeviceBusyError, match="has been benching there"):
        second.take(60)
    first.take(90)
    first.give_back()
    second.take(60)
    second.give_back()


def test_a_stale_lease_is_taken_over(phone):
    holder = f"{phone.root()}/lease/holder"
    phone.check(["sh", "-c", 'mkdir -p "${1%/*}" && echo "1 1 token old@host" >"$1"', "sh", holder])
    Lease(phone).take(60)
    assert "old@host" not in phone.check(["cat", holder]).text


def test_a_process_there_is_followed_to_its_end(phone):
    folder = f"{phone.root()}/runs/the-run"
    phone.check(["mkdir", "-p", folder])
    hello = ('{"e":"hello","pass":"latency","t":1,"protocol":2,"run":"the-run","pid":7,"program":"native",'
             '"runtime":"null","version":"1","threads":1}')  # fmt: skip
    end = '{"e":"end","pass":"latency","t":2,"reason":"done","count":0}'
    script = 'echo "$2" >>"$1.jsonl"; sleep 1; echo "$3" >>"$1.jsonl"'
    argv = ["sh", "-c", script, "sh", f"{folder}/latency", hello, end]
    one = Pass(
        transport=phone, path=f"{folder}/latency", name="latency", run_id="the-run", runs=1, deadline_s=60
    )
    assert [event["e"] for event in one.follow(argv, {})] == ["hello", "end"]
    assert one._state() == ("ended", 0)


def test_a_process_there_is_killed_when_it_is_left(phone):
    folder = f"{phone.root()}/runs/the-run"
    phone.check(["mkdir", "-p", folder])
    one = Pass(
        transport=phone, path=f"{folder}/latency", name="latency", run_id="the-run", runs=1, deadline_s=3
    )
    with pytest.raises(Exception, match="has not ended within 3 s"):
        list(one.follow(["sleep", "600"], {}))
    assert one._state()[0] in {"gone", "ended"}


def test_without_a_python_it_is_unfit_and_untouched(phone, tmp_path):
    with Runner(phone, RUNTIMES.get("null")) as runner:
        with pytest.raises(DeviceUnfitError, match="no Python there"):
            runner.prepare()
        with pytest.raises((DeviceUnfitError, UsageError)):
            list(runner.run(Job(run_id="run-0001"), tmp_path / "none", "0" * 64, None))
    assert phone.run(["ls", f"{phone.root()}/store"]).exit_code != 0
