"""One bench at a time on a device."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from edgekit.errors import DeviceBusyError, DeviceLostError, ProtocolError
from edgekit.runners import lease as lease_module
from edgekit.runners.lease import Lease
from edgekit.runners.transport import CommandResult, open_transport
from edgekit.targets import Device


def holder(transport):
    return Path(transport.root()) / "lease" / "holder"


def test_the_second_one_is_told_who_holds_it_and_since_when(local):
    first, second = Lease(local), Lease(local)
    first.take(60)
    with pytest.raises(
        DeviceBusyError, match=r"^local://: .+@.+ has been benching there for \d+ s: wait; .+ ends in"
    ):
        second.take(60)
    assert (first.held, second.held) == (True, False)


def test_it_can_be_held_for_longer_and_given_back(local):
    first, second = Lease(local), Lease(local)
    first.take(5)
    until = int(holder(local).read_text().split()[0])
    first.take(500)
    assert int(holder(local).read_text().split()[0]) > until + 400
    first.give_back()
    assert not holder(local).exists()
    second.take(5)


def test_giving_back_what_is_not_held_leaves_the_holder_alone(local):
    first, second = Lease(local), Lease(local)
    first.take(60)
    second.give_back()
    second.held = True
    second.give_back()
    assert holder(local).exists()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "nonsense",
        "1 1 somebody - old@host",
        "99999999 1 somebody an-earlier-start old@host",
        "-5 x",
    ],
)
def test_a_stale_one_is_taken_over(local, content):
    holder(local).parent.mkdir(parents=True)
    if content is not None:
        holder(local).write_text(content + "\n")
    Lease(local).take(60)
    assert "old@host" not in holder(local).read_text()


def test_of_many_who_reach_for_a_stale_one_a_single_one_gets_it(local):
    holder(local).parent.mkdir(parents=True)
    holder(local).write_text("1 1 token - old@host\n")
    got = []

    def reach():
        with open_transport(Device.parse("local://")) as transport:
            lease = Lease(transport)
            try:
                lease.take(60)
                got.append(lease)
            except DeviceBusyError:
                pass

    threads = [threading.Thread(target=reach) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_one_that_is_given_back_while_it_is_looked_at_is_taken(local):
    folder = Path(local.root()) / "lease"
    folder.mkdir(parents=True)  # its holder says in a moment who it is, and goes instead
    gone = threading.Timer(0.4, folder.rmdir)
    gone.start()
    lease = Lease(local)
    lease.take(60)
    gone.join()
    assert holder(local).read_text().split()[2] == lease._token


def test_a_takeover_that_died_does_not_hold_it_up_for_ever(local):
    holder(local).parent.mkdir(parents=True)
    died = Path(local.root()) / "lease.take"
    died.mkdir()
    (died / "since").write_text("-100\n")
    with pytest.raises(DeviceBusyError, match="somebody who takes it over"):
        Lease(local).take(60)
    Lease(local).take(60)
    assert not died.exists()


def test_it_is_renewed_when_that_is_due_and_not_before(local, monkeypatch):
    lease = Lease(local)
    lease.take(5)
    before = holder(local).read_text()
    lease.keep()
    assert holder(local).read_text() == before
    monkeypatch.setattr("edgekit.runners.lease._RENEW_S", -1.0)
    lease.keep()
    assert int(holder(local).read_text().split()[0]) > int(before.split()[0]) + 60


def test_who_lost_it_is_told_at_the_next_renewal(local, monkeypatch):
    first, second = Lease(local), Lease(local)
    first.take(60)
    holder(local).write_text("1 " + holder(local).read_text().split(" ", 1)[1])  # it ran out
    second.take(60)
    monkeypatch.setattr("edgekit.runners.lease._RENEW_S", -1.0)
    with pytest.raises(DeviceBusyError, match="has been benching there"):
        first.keep()


def test_a_holder_with_an_odd_name_does_not_break_it(local, monkeypatch):
    monkeypatch.setattr("edgekit.runners.lease.platform.node", lambda: 'a "b" $(touch pwned) \\ c')
    Lease(local).take(60)
    with pytest.raises(DeviceBusyError, match="touch pwned"):
        Lease(local).take(60)


def test_an_answer_that_is_none_is_refused(local, monkeypatch):
    answer = CommandResult(argv=("sh",), exit_code=0, stdout=b"hello there\n", stderr=b"", duration_s=0.0)
    monkeypatch.setattr(local, "run", lambda *_, **__: answer)
    with pytest.raises(ProtocolError, match="lease"):
        Lease(local).take(60)


def test_giving_back_over_a_dead_link_is_quiet(local, monkeypatch):
    lease = Lease(local)
    lease.take(1)

    def dead(*_, **__):
        raise DeviceLostError("local://", "gone")

    monkeypatch.setattr(local, "run", dead)
    lease.give_back()
    assert not lease.held


# --- what a dead host leaves ------------------------------------------------------------------------------
def dead_process():
    """Return a process id that was one just now, and when that process began."""
    process = subprocess.Popen(["true"])
    began = lease_module._began(process.pid)
    process.wait()
    return process.pid, began


def test_a_process_of_this_host_that_is_no_more_holds_nothing(local, monkeypatch):
    pid, began = dead_process()
    dead = f"me@here, process {pid} [{lease_module._boot()} {began}]"
    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "host", lambda: dead)
        Lease(local).take(600)
    assert dead in holder(local).read_text()
    second = Lease(local)
    second.take(60)
    assert second.held
    assert f"process {os.getpid()}" in holder(local).read_text()


@pytest.mark.parametrize(
    "who", ["me@here, process {pid} [00000000 {began}]", "me@here, process {pid}", "me@here"]
)
def test_who_may_be_another_host_s_is_believed(local, monkeypatch, who):
    pid, began = dead_process()
    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "host", lambda: who.format(pid=pid, began=began))
        Lease(local).take(600)
    with pytest.raises(DeviceBusyError, match=r"^local://: me@here(, process \d+)? has been benching"):
        Lease(local).take(60)


@pytest.mark.parametrize("stale", [True, False], ids=["its lease is stale", "it gave it back"])
def test_what_a_dead_holder_left_running_is_ended_and_nothing_else(local, stale):
    root = Path(local.root())
    run = root / "runs" / "left"
    run.mkdir(parents=True)
    script = 'echo $$ >"$0.pid"; sleep 600; true'
    argv = ["sh", "-c", script, str(run / "latency"), str(run / "latency.json")]
    left = subprocess.Popen(argv, start_new_session=True)
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (run / "memory.pid").write_text(f"{other.pid}\n")  # a process id that is another's by now
    (run / "power.pid").write_text("nonsense\n")
    try:
        while not (run / "latency.pid").exists() or not (run / "latency.pid").read_text():
            time.sleep(0.01)
        if stale:
            holder(local).parent.mkdir(parents=True)
            holder(local).write_text("1 1 token - old@host\n")
        Lease(local).take(60)
        assert left.wait(timeout=60) == -15
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_who_holds_it_himself_ends_nothing(local):
    first = Lease(local)
    first.take(60)
    run = Path(local.root()) / "runs" / "ours"
    run.mkdir(parents=True)
    script = 'echo $$ >"$0.pid"; sleep 600; true'
    argv = ["sh", "-c", script, str(run / "latency"), str(run / "latency.json")]
    ours = subprocess.Popen(argv, start_new_session=True)
    try:
        while not (run / "latency.pid").exists() or not (run / "latency.pid").read_text():
            time.sleep(0.01)
        first.take(60)
        assert ours.poll() is None
    finally:
        ours.kill()
        ours.wait()
