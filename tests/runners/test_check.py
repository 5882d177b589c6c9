"""What `devices probe` and `doctor` find out."""

from importlib import metadata

import pytest

from edgekit.errors import DeviceError
from edgekit.runners import check
from edgekit.runners.runtime import RUNTIMES
from edgekit.targets import Device


def by_name(checks):
    assert len({c["what"] for c in checks}) == len(checks)
    return {c["what"]: c for c in checks}


def test_every_library_is_said_with_its_version_or_its_extra(monkeypatch):
    real = metadata.version

    def version(name):
        if name in {"coremltools", "torch"}:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = by_name(check.examine_host())
    assert found["python"]["ok"]
    assert not found["coremltools"]["ok"]
    assert found["coremltools"]["detail"].endswith("pip install 'edgekit-sdk[convert]'")
    assert found["torch"]["detail"].endswith("pip install 'edgekit-sdk[torch]'")


def test_no_adb_is_said_with_the_next_step(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_ADB", str(tmp_path / "no-such-adb"))
    found = by_name(check.examine_host())
    assert not found["adb"]["ok"]
    assert "no-such-adb" in found["adb"]["detail"]


def test_an_adb_that_hangs_or_breaks_is_no_adb(monkeypatch, tmp_path):
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("EDGEKIT_ADB", str(program))
    assert not by_name(check.examine_host())["adb"]["ok"]


@pytest.mark.parametrize("address", ["local://", "fake://"])
def test_a_device_says_what_it_is_and_every_runtime_is_judged(address, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = check.describe_device(Device.parse(address))
    tools = {"benchmark_model", "onnxruntime_perf_test"}  # the user's own: nobody knows before they are named
    assert set(found["runtimes"]) == set(RUNTIMES) - {"null"} - tools
    assert found["runtimes"]["coreml"].startswith("no: ")
    assert found["facts"]["transport"] == address.partition(":")[0]
    assert bool(found["facts"]["emulated"]) == (address == "fake://")
    assert found["folder"].startswith("/")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_named_is_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = check.describe_device(Device.parse("local://", target="raspberry-pi-5"))
    assert found["target"] == "raspberry-pi-5"


def test_a_device_that_is_gone_is_an_error_with_its_name():
    with pytest.raises(DeviceError, match=r"^ssh://127\.0\.0\.1:1: "):
        check.describe_device(Device.parse("ssh://127.0.0.1:1"))
