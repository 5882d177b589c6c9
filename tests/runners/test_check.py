"""What `devices probe` and `doctor` find out."""

from importlib import metadata

import pytest

from edgekit.errors import DeviceError, UsageError
from edgekit.runners import check, glibc, native, phone
from edgekit.runners.choice import decide, is_kept
from edgekit.runners.ground import Ground
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
    assert set(found["runtimes"]) == {"coreml", "litert", "onnxruntime"} < set(RUNTIMES) - tools
    assert found["runtimes"]["coreml"]["program"] == "none"
    assert "Apple" in found["runtimes"]["coreml"]["why"]
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


# --- which program, before anything is pushed -----------------------------------------------------------
GOOD = Ground(runs=True, seccomp=0, context="", folder="/data/local/tmp/edgekit")
PHONE = {"ro.build.version.release": "14", "libc": None, "libstdcxx": None, "python": None}
OLD = {"libc": "ldd (GNU libc) 2.17", "python": "/usr/bin/python3\t3.7\t64\tok"}


@pytest.fixture
def built(monkeypatch):
    """The native program for both machines, built here or not; and no glibc of the user's."""
    monkeypatch.setattr(native, "native_program", lambda abi: {"aarch64": abi, "x86_64": abi}.get(abi))
    monkeypatch.delenv(glibc.FOLDER, raising=False)


NATIVE, THROUGH = "native", "native through glibc 2.36"
PC = {"machine": "x86_64", "libstdcxx": "/usr/lib/libstdc++.so.6.0.30"}
JUDGED = [
    ("onnxruntime", {}, NATIVE, "onnxruntime 1.32.0", ""),
    ("litert", {}, NATIVE, "ai-edge-litert 2.1.0", ""),
    ("litert", PC, "python", "ai-edge-litert 2.3.0", "C API for x86_64"),
    ("onnxruntime", PHONE, THROUGH, "onnxruntime 1.32.0", ""),
    ("litert", PHONE, THROUGH, "ai-edge-litert 2.1.0", ""),
    ("litert", PHONE | {"machine": "x86_64"}, "none", "", "no Python there"),
    ("litert", PHONE | {"machine": "armv7l"}, "none", "", "no Python there"),
    ("onnxruntime", {"machine": "armv7l"}, "none", "", "no build for armv7l"),
    ("onnxruntime", OLD, "none", "", "needs glibc"),
    ("litert", {"libstdcxx": None}, "none", "", "needs libstdc"),
    ("coreml", {}, "none", "", "Apple"),
]


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: f"{row[0]}-{row[2]}-{row[4]}")
@pytest.mark.usefixtures("built")
def test_the_program_is_told_before_anything_is_pushed(make_facts, tmp_path, row):
    name, changes, program, brings, why = row
    told = check.judge(RUNTIMES.get(name), make_facts(**changes), GOOD, tmp_path / "wheels")
    assert (told["program"], told["brings"]) == (program, brings)
    assert why in told["why"]
    assert bool(why) == bool(told["why"])
    assert not told["kept"]
    assert bool(told["next"]) == (program == "none")


@pytest.mark.usefixtures("built")
def test_ground_that_does_not_bear_is_told_with_the_next_step(make_facts, tmp_path):
    ground = Ground(runs=True, seccomp=2, context="", folder="/data/local/tmp/edgekit")
    told = check.judge(RUNTIMES.get("litert"), make_facts(**PHONE), ground, tmp_path / "wheels")
    assert told["program"] == "none"
    assert "seccomp mode is 2" in told["why"]
    assert "adb" in told["next"]
    board = check.judge(RUNTIMES.get("litert"), make_facts(), ground, tmp_path / "wheels")
    assert board["program"] == "native"  # its own glibc lives with its own filter


@pytest.mark.usefixtures("built")
def test_what_is_kept_here_is_known(make_facts, real_cache):
    choice = decide(RUNTIMES.get("onnxruntime"), make_facts(**PHONE))
    try:
        phone.parts(real_cache)
        native.fetch_library(choice.brings, choice.facts, real_cache)
    except UsageError as error:
        pytest.skip(f"nothing can be fetched here: {error}")
    assert is_kept(choice, real_cache)
    by_python = decide(
        RUNTIMES.get("onnxruntime"), make_facts(python="/usr/bin/python3\t3.8\t64\tok"), program="python"
    )
    assert by_python.brings.version == "1.19.2"
    assert not is_kept(by_python, real_cache.parent / "no-such")


@pytest.mark.usefixtures("built")
def test_a_program_that_is_asked_for_is_no_other(make_facts):
    by_python = decide(RUNTIMES.get("onnxruntime"), make_facts(), program="python")
    assert (by_python.program, by_python.not_native) == ("python", "another program was asked for")
    for changes in (PHONE, {"libc": "musl libc", "python": None}):
        assert decide(RUNTIMES.get("null"), make_facts(**changes)).through_glibc
