"""`edgekit devices probe` and `clean`: what a device is and would run, and what lies there, by release."""

import json

import pytest


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """This machine with two releases of one runtime in EdgeKit's folder; return the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "edgekit" / "device"
    for name in (
        "store/1111/libonnxruntime.so.1.32.0",
        "site/aaaa/onnxruntime-1.23.2.dist-info/RECORD",
        "runs/run-0001/latency.jsonl",
    ):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(bytes(9000))
    return root


def test_a_probe_says_which_program_would_run_and_with_what(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, _ = call("devices", "probe", "local://", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["ground"] is None  # it has a glibc of its own
    assert set(found["sensors"]) == {"power", "others", "reason"}
    assert bool(found["sensors"]["power"]) != bool(found["sensors"]["reason"])
    assert found["runtimes"]["coreml"]["program"] == "none"
    for judged in found["runtimes"].values():
        assert set(judged) == {"program", "brings", "kept", "why", "next"}
        assert (judged["program"] == "none") == (not judged["brings"])
        assert not judged["kept"]
    code, out, _ = call("devices", "probe", "local://")
    assert code == 0
    for words in ("power sensor", "page_size", "to be fetched", "none: Core ML runs on Apple devices only"):
        assert words in out
    assert not (tmp_path / "cache").exists()


def test_cleaning_says_what_there_was(call, filled):
    code, out, err = call("devices", "clean", "local://")
    assert (code, err) == (0, "")
    for word in ("onnxruntime", "1.32.0", "1.23.2", "run", f"removed {filled} from local://"):
        assert word in out
    assert not filled.exists()
    code, out, _ = call("devices", "clean", "local://", "--json")
    assert (code, json.loads(out)["items"]) == (0, [])


def test_a_dry_run_removes_nothing(call, filled):
    code, out, _ = call("devices", "clean", "local://", "--dry-run", "--json")
    document = json.loads(out)
    assert (code, document["removed"], document["folder"]) == (0, "", str(filled))
    told = [(item["what"], item["version"]) for item in document["items"]]
    assert told == [("onnxruntime", "1.23.2"), ("onnxruntime", "1.32.0"), ("run", "")]
    assert all(item["bytes"] >= 9000 for item in document["items"])
    assert "would be removed" in call("devices", "clean", "-n", "local://")[1]
    assert len(list(filled.rglob("*"))) == 10


def test_one_release_is_removed_and_the_others_stay(call, filled):
    code, out, _ = call("devices", "clean", "local://", "--only", "onnxruntime==1.23.2")
    assert (code, f"removed onnxruntime==1.23.2 in {filled} from local://" in out) == (0, True)
    assert not (filled / "site" / "aaaa").exists()
    assert (filled / "store" / "1111" / "libonnxruntime.so.1.32.0").exists()
    code, out, err = call("devices", "clean", "local://", "--only", "onnxruntime==1.23.2")
    assert (code, out) == (2, "")
    assert "unknown thing there 'onnxruntime==1.23.2': did you mean 'onnxruntime==1.32.0'?" in err


@pytest.mark.adb
@pytest.mark.adbd
@pytest.mark.usefixtures("adb")
@pytest.mark.parametrize("adb_server", ["bundled"], indirect=True)
def test_a_phone_is_told_to_run_through_a_glibc_before_anything_is_pushed(call, adbd_phone_arm, monkeypatch):
    monkeypatch.delenv("EDGEKIT_GLIBC", raising=False)
    device = f"adb://{adbd_phone_arm.serial}"
    code, out, err = call("devices", "probe", device, "--json")
    found = json.loads(out)
    assert code == 0, err
    assert found["ground"]["runs"] is True
    assert found["facts"]["page_size"] >= 4096
    judged = found["runtimes"]["onnxruntime"]
    seccomp = found["ground"]["seccomp"]
    if seccomp == 0 and "not built" not in judged["why"]:
        assert (judged["program"], judged["brings"]) == ("native through glibc 2.36", "onnxruntime 1.32.0")
    else:
        assert (judged["program"], bool(judged["why"])) == ("none", True)
    code, out, _ = call("devices", "clean", device, "--dry-run", "--json")
    assert (code, json.loads(out)["items"]) == (0, [])
