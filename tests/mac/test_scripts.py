"""The scripts that start, find and end what runs on a Mac: no /proc there, no setsid, another ps.

The tests of this file, and some of Core ML's, run twice: here, and where /proc is empty and a ps like macOS's
stands in. That needs a mount namespace of one's own.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.artifact import digest
from edgekit.errors import DeviceTimeoutError
from edgekit.runners.follow import END_OF_IT, Pass
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport.command import START, kill_line

ROOT = Path(__file__).parents[2]
INSIDE = """
mkdir -p "$STANDIN_PROC" && mount --rbind /proc "$STANDIN_PROC" && mount -t tmpfs none /proc || exit 77
exec "$@"
"""
CHOSEN = "leads_a_group or is_not_that_of or carries_a_mark or package_is_run or memory_that_can_not"


def gone(pid):
    """Wait until there is no process of this number."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_what_is_started_leads_a_group_and_is_found_and_ended(transport, tmp_path):
    path = str(tmp_path / "pass")
    pid = transport.start(["sh", "-c", "sleep 1000; true", f"{path}.json"], log=f"{path}.log")
    try:
        assert os.getpgid(pid) == pid == os.getsid(pid)
        Path(f"{path}.pid").write_text(str(pid))
        one = Pass(transport=transport, path=path, name="latency", run_id="run", runs=1, deadline_s=9)
        assert one.state() == "alive"
        transport.check(["sh", "-c", f'{END_OF_IT}stop_pass "$1"', "sh", path], timeout_s=60)
        assert gone(pid)
        assert one.state() == "gone"
    finally:
        transport.kill_group(pid)


def test_the_end_of_one_pass_is_not_that_of_another(transport, tmp_path):
    path, other = str(tmp_path / "pass"), str(tmp_path / "other")
    pid = transport.start(["sh", "-c", "sleep 1000; true", f"{other}.json"], log=f"{other}.log")
    try:
        transport.check(["sh", "-c", f'{END_OF_IT}stop_pass "$1"', "sh", path], timeout_s=60)
        os.kill(pid, 0)
    finally:
        transport.kill_group(pid)
    assert gone(pid)


def test_what_carries_a_mark_is_ended(transport, tmp_path):
    env = {"EDGEKIT_MARK": "0123456789abcdef"}
    pid = transport.start(["sleep", "1000"], log=str(tmp_path / "log"), env=env)
    code, _, _ = transport._execute(kill_line("0123456789abcdef"), stdin=b"", timeout_s=120.0)
    assert code == 0
    assert gone(pid)


def test_perl_stands_in_for_setsid(transport, tmp_path):
    if transport.run(["sh", "-c", "command -v perl"]).exit_code:
        pytest.skip("there is no perl here")
    script = f"command() {{ [ $2 != setsid ]; }}; {START}"
    told = transport.check(["sh", "-c", script, "sh", str(tmp_path / "log"), "exec sleep 1000"])
    pid = int(told.text)
    try:
        assert os.getpgid(pid) == pid == os.getsid(pid)
    finally:
        transport.kill_group(pid)
    assert gone(pid)


def test_a_prediction_that_hangs_is_killed_at_the_deadline(transport, bundle, mac, monkeypatch):
    monkeypatch.setenv("STANDIN_HANG", "1")
    artifact = bundle.artifacts[0]
    job = Job(run_id="run-0001", runs=5, max_s=0.5, grace_s=3.0, passes=("latency",))
    with (
        Runner(transport, RUNTIMES.get("coreml")) as runner,
        pytest.raises(DeviceTimeoutError, match="has not ended within 4 s"),
    ):
        list(runner.run(job, bundle.path_of(artifact), artifact.sha256, None))
    hung = [told for told in map(json.loads, mac.read_text().splitlines()) if told["call"] == "hang"]
    assert all(gone(told["pid"]) for told in hung)
    assert digest(bundle.path_of(artifact))[0] == artifact.sha256


@pytest.mark.skipif("STANDIN_PROC" in os.environ, reason="this is the inside")
def test_all_of_it_holds_without_a_proc(tmp_path):
    inside = {
        **os.environ,
        "STANDIN_PROC": str(tmp_path / "proc"),
        "PATH": f"{Path(__file__).parent / 'standin/bare'}:{os.environ['PATH']}",
    }
    tried = ["unshare", "-rm", "sh", "-c", INSIDE, "sh"]
    if (
        not Path("/usr/bin/unshare").exists()
        or subprocess.run([*tried, "true"], env=inside, check=False).returncode
    ):
        pytest.skip("no mount namespace can be made here, so that /proc can't be hidden")
    # What is left unclosed is found outside, where the same tests run; here it is /proc that counts.
    quiet = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    own = f"--basetemp={tmp_path / 'inner'}"
    pytest_argv = [sys.executable, "-m", "pytest", "-q", own, *quiet, "-k", CHOSEN, "tests/mac"]
    done = subprocess.run(
        [*tried, *pytest_argv], env=inside, cwd=ROOT, capture_output=True, text=True, check=False, timeout=550
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "5 passed" in done.stdout, done.stdout[-400:]
