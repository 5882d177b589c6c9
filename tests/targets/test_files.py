"""Every target file there is: it loads, it is honest, and real devices are exactly their own."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from edgekit.errors import UsageError
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import TRANSPORTS
from edgekit.targets import Target, load_target, match_target, target_names
from edgekit.targets import target as module

GENERIC = {
    "generic-aarch64", "generic-android", "generic-armv7l", "generic-mac", "generic-x86-64", "this-host",
}  # fmt: skip
WANTED = {
    *("raspberry-pi-zero-2w", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "jetson-nano"),
    *("jetson-orin-nano", "imx8m-plus", "rock-5b", "beaglebone-black", "beagleplay", "pixel-8", "galaxy-s24"),
    *("galaxy-s24-snapdragon", "xiaomi-14", "orange-pi-5", "odroid-n2", "stm32mp157f-dk2"),
}
# What /proc/device-tree/model says there, as boards and their device trees have it.
BOARDS = [
    ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2w"),
    ("Raspberry Pi Zero 2 W", "raspberry-pi-zero-2w"),
    ("Raspberry Pi 3 Model B", "raspberry-pi-3"),
    ("Raspberry Pi 3 Model B Rev 1.2", "raspberry-pi-3"),
    ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3"),
    ("Raspberry Pi 3 Model A Plus Rev 1.0", "raspberry-pi-3"),
    ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
    ("Raspberry Pi 5", "raspberry-pi-5"),
    ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
    ("Raspberry Pi 5 Model B Rev 1.1", "raspberry-pi-5"),
    ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
    ("NVIDIA Jetson Nano 2GB Developer Kit", "jetson-nano"),
    ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
    ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "jetson-orin-nano"),
    ("NXP i.MX8MPlus EVK board", "imx8m-plus"),
    ("Radxa ROCK 5B", "rock-5b"),
    ("Xunlong Orange Pi 5", "orange-pi-5"),
    ("Hardkernel ODROID-N2", "odroid-n2"),
    ("BeagleBoard.org BeaglePlay", "beagleplay"),
    # Near misses: other boards, with other chips or clocks.
    ("Raspberry Pi 500 Rev 1.0", "generic-aarch64"),
    ("Raspberry Pi 400 Rev 1.0", "generic-aarch64"),
    ("Raspberry Pi Compute Module 4 Rev 1.0", "generic-aarch64"),
    ("Raspberry Pi Zero W Rev 1.1", "generic-aarch64"),
    ("NVIDIA Jetson AGX Orin Developer Kit", "generic-aarch64"),
    ("NXP i.MX8MPlus FRDM board", "generic-aarch64"),
    ("Radxa ROCK 5B+", "generic-aarch64"),
    ("Xunlong Orange Pi 5B", "generic-aarch64"),
    ("Xunlong Orange Pi 5 Max", "generic-aarch64"),
    ("Hardkernel ODROID-N2+", "generic-aarch64"),
    ("linux,dummy-virt", "generic-aarch64"),
]
BOARDS_32 = [
    ("TI AM335x BeagleBone Black", "beaglebone-black"),
    ("TI AM335x BeagleBone Black Wireless", "beaglebone-black"),
    ("STMicroelectronics STM32MP157F-DK2 Discovery Board", "stm32mp157f-dk2"),
    ("TI AM335x BeagleBone Green", "generic-armv7l"),
    ("STMicroelectronics STM32MP157C-DK2 Discovery Board", "generic-armv7l"),
]
# ro.product.model, ro.soc.model and ro.product.device.
PHONES = [
    ("Pixel 8", "Tensor G3", "shiba", "pixel-8"),
    ("SM-S921B", "Exynos 2400", "e1s", "galaxy-s24"),
    ("SM-S921N", "s5e9945", "e1s", "galaxy-s24"),
    ("SM-S921U", "SM8650", "e1q", "galaxy-s24-snapdragon"),
    ("SM-S921U1", "SM8650", "e1q", "galaxy-s24-snapdragon"),
    ("SM-S9210", "SM8650", "e1q", "galaxy-s24-snapdragon"),
    ("23127PN0CC", "SM8650", "houji", "xiaomi-14"),
    ("23127PN0CG", "SM8650", "houji", "xiaomi-14"),
    ("Pixel 8 Pro", "Tensor G3", "husky", "generic-android"),
    ("Pixel 8a", "Tensor G3", "akita", "generic-android"),
    ("SM-S926B", "Exynos 2400", "e2s", "generic-android"),
    ("24030PN60G", "SM8650", "aurora", "generic-android"),
]
REAL = [
    *(
        ({"model": model, "os": "linux", "abi": "aarch64", "transport": "ssh"}, name)
        for model, name in BOARDS
    ),
    *(
        ({"model": model, "os": "linux", "abi": "armv7l", "transport": "ssh"}, name)
        for model, name in BOARDS_32
    ),
    *(
        (
            {"model": m, "soc": soc, "board": board, "os": "android", "abi": "aarch64", "transport": "adb"},
            name,
        )
        for m, soc, board, name in PHONES
    ),
]


@pytest.fixture(params=target_names())
def target(request):
    return load_target(request.param)


def test_the_wanted_ones_are_there():
    assert set(target_names()) >= WANTED | GENERIC


def test_it_round_trips(target):
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_its_transports_runtimes_and_formats_exist(target):
    assert set(target.transports) <= set(TRANSPORTS)
    assert set(target.runtimes) <= set(RUNTIMES)
    assert target.formats
    assert len(set(target.formats)) == len(target.formats)


def test_it_tells_where_its_facts_come_from(target):
    assert target.sources
    assert all(re.fullmatch(r"https://[\w.-]+/[!-~]+", source) for source in target.sources)


def test_it_is_generic_or_whole(target):
    assert target.is_generic == (target.name in GENERIC)
    if target.is_generic:
        assert not target.cores
        assert not target.soc
        return
    assert target.soc
    assert target.cores
    assert all(core.max_mhz or "unconfirmed" in target.note for core in target.cores)
    assert target.memory_mib == tuple(sorted(target.memory_mib))


def test_its_clusters_stand_the_biggest_first(target):
    family = [int(re.sub(r"\D", "", core.name)) + 1000 * ("X" in core.name) for core in target.cores]
    assert family == sorted(family, reverse=True)


def test_every_pattern_is_anchored_and_covers_its_facts(target):
    assert all(pattern.startswith("^") for pattern in target.match.values())


def test_a_reading_has_its_unit_and_its_traps(target):
    for sensor in target.sensors:
        assert sensor.note
        assert sensor.source.startswith("/") or sensor.source.split()[0] in {"vcgencmd", "dumpsys", "pmset"}
        if sensor.measures == "temperature":
            assert "Celsius" in sensor.note


def test_a_battery_is_never_given_without_its_traps(target):
    for sensor in target.sensors:
        if "battery" in sensor.source:
            assert all(word in sensor.note for word in ("charging", "sign", "unit", "status"))


def test_a_32_bit_board_has_the_one_runtime_that_has_a_wheel(target):
    if target.abi == "armv7l":
        assert target.runtimes == ("litert",)
        assert "tflite-runtime" in target.note


@pytest.mark.parametrize(("facts", "name"), REAL, ids=[facts["model"] for facts, _ in REAL])
def test_a_real_device_is_its_own_target(facts, name):
    found = match_target(facts)
    assert found is not None
    assert found.name == name
    specific = [n for n in target_names() if load_target(n).match and load_target(n).fits(facts)]
    assert specific == ([] if name in GENERIC else [name])


def test_every_specific_target_is_shown_to_match_something():
    assert {name for _, name in REAL} >= set(target_names()) - {"this-host", "generic-x86-64", "generic-mac"}


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"os": "linux", "abi": "aarch64"}, "generic-aarch64"),
        ({"os": "linux", "abi": "armv7l", "transport": "ssh"}, "generic-armv7l"),
        ({"os": "linux", "abi": "x86_64", "transport": "ssh"}, "generic-x86-64"),
        ({"os": "android", "abi": "aarch64", "transport": "adb"}, "generic-android"),
        ({"os": "macos", "abi": "arm64", "transport": "ssh"}, "generic-mac"),
        ({"os": "linux", "abi": "x86_64", "transport": "local"}, "this-host"),
        ({"os": "macos", "abi": "arm64", "transport": "local"}, "this-host"),
        ({"os": "linux", "abi": "aarch64", "transport": "local"}, "this-host"),
        (
            {
                "os": "linux",
                "abi": "aarch64",
                "transport": "local",
                "model": "Raspberry Pi 5 Model B Rev 1.0",
            },
            "raspberry-pi-5",
        ),
        ({"os": "linux", "abi": "aarch64", "model": ""}, "generic-aarch64"),
        ({"model": "Radxa ROCK 5B"}, "rock-5b"),
        ({"os": "linux", "abi": "armv7l", "model": "Raspberry Pi 4 Model B Rev 1.4"}, "generic-armv7l"),
        ({"os": "android", "abi": "aarch64", "model": "Raspberry Pi 4 Model B"}, "generic-android"),
    ],
)
def test_what_the_rest_falls_back_to(facts, name):
    found = match_target(facts)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"os": "linux"},
        {"abi": "aarch64"},
        {"model": "Something else"},
        {"os": "linux", "abi": "riscv64", "transport": "ssh"},
        {"os": "android", "abi": "armv7l", "transport": "adb"},
        {"os": "macos", "abi": "x86_64", "transport": "ssh"},
        {"os": "linux", "abi": "aarch64", "transport": "fake"},
    ],
)
def test_what_is_no_known_kind(facts):
    assert match_target(facts) is None


def test_no_two_generic_targets_fit_one_device():
    everything = itertools.product(module.SYSTEMS, module.ABIS, ("local", "ssh", "adb", "fake", ""))
    for os_, abi, transport in everything:
        match_target({"os": os_, "abi": abi, "transport": transport})


def test_two_targets_that_fit_one_device_are_an_error(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(
            'title = "x"\nos = "linux"\nabi = "aarch64"\ntransports = ["ssh"]\nruntimes = ["litert"]\n'
            '[match]\nmodel = "^Board"\n',
            encoding="utf-8",
        )
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    module._own.cache_clear()
    with pytest.raises(UsageError, match="one and two both fit"):
        match_target({"model": "Board 7"})
    module._own.cache_clear()


def test_all_facts_that_a_target_gives_have_to_be_found():
    target = Target.from_json(
        {
            "name": "both",
            "title": "x",
            "os": "android",
            "abi": "aarch64",
            "transports": ["adb"],
            "runtimes": ["litert"],
            "match": {"model": "^Phone", "soc": "^Chip 1$"},
        }
    )
    assert target.fits({"model": "Phone 3", "soc": "Chip 1"})
    assert not target.fits({"model": "Phone 3", "soc": "Chip 12"})
    assert not target.fits({"model": "Phone 3"})
    assert not target.fits({"model": "Phone 3", "soc": "Chip 1", "os": "linux"})
    assert not target.fits({"model": "Phone 3", "soc": "Chip 1", "transport": "ssh"})
