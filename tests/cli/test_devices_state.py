"""`edgekit devices restore`: what a bench left changed, given back by hand."""

import json
from pathlib import Path

import pytest

from edgekit.cli.output import SCHEMA


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Leave a value changed on this machine, as a host that died has; return its file and the journal."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    value, state = tmp_path / "value", tmp_path / "cache/edgekit/device/state"
    value.write_text("new\n")
    state.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (state / "journal").write_text(
        f"edgekit-state 1|abc|60|{boot}|ann@desk, process 7\nchange|file|{value}|old|new|.\nend\n"
    )
    (state / "beat").write_text("1 7\n")
    return value, state / "journal"


def test_it_is_restored_and_told(call, left):
    value, journal = left
    code, out, err = call("devices", "restore", "local://")
    assert (code, out, err) == (0, f"{value}: restored to old\n", "")
    assert value.read_text() == "old\n"
    assert not journal.exists()
    assert call("devices", "restore", "local://") == (0, "local://: nothing to restore\n", "")


def test_as_json_it_is_one_document(call, left):
    code, out, _ = call("devices", "restore", "local://", "--json")
    wanted = [{"what": str(left[0]), "state": "restored", "value": "old"}]
    assert (code, json.loads(out)) == (
        0,
        {"schema": SCHEMA, "device": "local://", "values": wanted, "forgotten": False},
    )


def test_what_can_not_be_restored_names_the_command_and_can_be_forgotten(call, left):
    value, journal = left
    value.unlink()
    value.mkdir()
    code, out, err = call("devices", "restore", "local://")
    assert (code, out, len(err.splitlines())) == (1, "", 1 + err.count("cannot create"))
    assert f"{value} is unreadable, it was old: run there: echo old > {value}" in err
    assert journal.exists()
    assert call("devices", "restore", "local://", "--forget") == (0, "local://: forgotten\n", "")
    assert not journal.exists()


def test_a_host_that_may_be_there_is_waited_for_unless_forced(call, left):
    value, journal = left
    up = Path("/proc/uptime").read_text().split(".")[0]
    journal.write_text(journal.read_text().replace("|60|", "|3|"))
    (journal.parent / "beat").write_text(f"{up} 7\n")
    code, _, err = call("devices", "restore", "local://")
    assert (code, err) == (0, "waiting for ann@desk, process 7 to give the device's state back\n")
    assert value.read_text() == "old\n"


def test_by_force_it_is_restored_at_once(call, left):
    value, journal = left
    up = Path("/proc/uptime").read_text().split(".")[0]
    (journal.parent / "beat").write_text(f"{up} 7\n")
    assert call("devices", "restore", "--force", "local://")[0::2] == (0, "")
    assert value.read_text() == "old\n"


def test_cleaning_gives_the_state_back_first(call, left):
    value, journal = left
    assert call("devices", "clean", "local://")[0] == 0
    assert value.read_text() == "old\n"
    assert not journal.parent.parent.exists()


def test_a_probe_tells_the_cores_by_kind(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, _ = call("devices", "probe", "local://")
    (line,) = [line for line in out.splitlines() if line.startswith("clusters")]
    assert code == 0
    assert "cpus 0" in line
    assert "{" not in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--frequency", "fast"], "'fast' is no frequency: write 1400MHz, 1.4GHz, or 1400000 for kHz"),
        (["--cooldown", "500"], "a cooldown to 500.0 C is none: give degrees Celsius, as in 45"),
        (["--cooldown", "45", "--cooldown-timeout", "0"], "0.0 s is no limit for a cooldown"),
        (["--screen", "dim"], "unknown state of a screen 'dim': known: off, on"),
    ],
)
def test_a_state_that_can_not_be_is_refused_before_a_device_is_touched(call, tmp_path, words, said):
    path = tmp_path / "bare.tflite"
    path.write_bytes(b"nothing")
    code, out, err = call("bench", path, "--device", "ssh://nowhere.invalid", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"edgekit: {said}")
    assert len(err.splitlines()) == 1
