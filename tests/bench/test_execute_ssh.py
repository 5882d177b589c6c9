"""The engine over real OpenSSH servers: this machine's, and an aarch64 board's."""

import os
import signal

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.testing.sshd import Sshd, _children, sshd_program

needs_sshd = pytest.mark.skipif(
    not sshd_program(), reason="sshd is not installed: apt-get install openssh-server"
)


@pytest.fixture
def server(monkeypatch):
    with Sshd() as running:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(running.files.config))
        yield running


@needs_sshd
def test_a_cut_link_costs_no_sample(real_bundle, store, server, need_wheels):
    plan = make_plan(
        [real_bundle().root], [server.files.address], runs=10_000_000, max_s=12.0, passes=["latency"]
    )
    cuts = []

    def cut(step):
        if step.done and not cuts:
            cuts.append(step.done)
            for pid in _children(server._process.pid):
                os.kill(pid, signal.SIGKILL)

    result = execute(plan, store, on_progress=cut)
    need_wheels(result)
    assert result.failed == ()
    (run,) = store.query()
    assert cuts
    assert cuts[0] < len(run.samples_ns)
    assert (run.ended == "done") == (len(run.samples_ns) == 10_000_000)
    assert run.parity.ok
    assert run.facts["transport"] == "ssh"


@needs_sshd
def test_a_link_that_stays_cut_keeps_what_was_read(real_bundle, store, server, need_wheels):
    plan = make_plan(
        [real_bundle().root], [server.files.address], runs=10_000_000, max_s=12.0, passes=["latency"]
    )

    def cut(step):
        if step.done:
            server.cut()

    result = execute(plan, store, on_progress=cut)
    need_wheels(result)
    assert [failure.kind for failure in result.failed] == ["DeviceLostError"]
    (run,) = store.query()
    assert len(run.samples_ns) > 0
    assert "listens" in run.ended
    assert "broken-off" in {doubt.code for doubt in summarize(run).doubts}


@needs_sshd
def test_a_second_bench_is_told_who_is_there(real_bundle, store, server, need_wheels):
    plan = make_plan([real_bundle().root], [server.files.address], runs=100, passes=["latency"])
    inner = []

    def meanwhile(step):
        if step.phase == "run" and not inner:
            inner.append(execute(plan, store))

    result = execute(plan, store, on_progress=meanwhile)
    need_wheels(result)
    assert result.failed == ()
    assert [failure.kind for failure in inner[0].failed] == ["DeviceBusyError"]
    assert inner[0].runs == ()


@pytest.mark.board
def test_an_emulated_board_is_proved_and_labelled(real_bundle, store, board, need_wheels):
    """Other kernels, same outputs; and its times never pass for hardware."""
    plan = make_plan([real_bundle().root], [board.address], runs=70, warmup=2, max_s=30.0)
    result = execute(plan, store)
    need_wheels(result)
    assert result.failed == ()
    run = store.get(result.runs[0].id)
    summary = summarize(run)
    assert run.facts["abi"] == "aarch64"
    assert run.parity.ok
    assert run.parity.max_abs_error < 1e-5
    assert summary.labels == ("emulated: qemu-user",)
    assert summary.verdict == "suspect"
    assert "emulated" in {doubt.code for doubt in summary.doubts}
    assert "draws no power" in run.power["unavailable"]
    assert summary.memory.peak_over_baseline_bytes > 0
