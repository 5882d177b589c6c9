"""Targets are kinds of devices, one TOML each in this folder; a Device is one of a kind, with an address.

A target file reads (its name is the target's):

    title = "Raspberry Pi 5"
    soc = "Broadcom BCM2712"            # left out of a generic target
    os = "linux"                        # linux | android | macos | any
    abi = "aarch64"                     # uname's word: aarch64 | armv7l | x86_64 | arm64 (macOS) | any
    transports = ["ssh", "local"]       # local, for EdgeKit running on the board itself
    runtimes = ["litert", "onnxruntime"]    # the formats that it takes follow from them
    memory_mib = [1024, 2048, 4096, 8192, 16384]
    supply_w = 27                       # what the supply that its maker asks for gives at most, in W
    sources = ["https://..."]           # where these facts were read
    note = ""                           # what a user has to know, and what is unconfirmed

    [match]                             # recognizes a device: one regular expression a fact, all to be found
    model = "^Raspberry Pi 5( |$)"      # facts: model, soc, board

    [[cores]]                           # a cluster each, the biggest first
    name = "Cortex-A76"
    count = 4
    max_mhz = 2400                      # left out where it is not confirmed
    features = ["dotprod", "fp16"]      # dotprod | fp16 | i8mm, as far as they are sure

    [[sensors]]
    measures = "power"                  # power | temperature | throttling
    source = "vcgencmd pmic_read_adc"   # a path (with wildcards) when it starts with /, else a command
    note = "..."                        # units, limits, traps

Only os, abi, title, transports and runtimes are needed; a key that is not listed here is refused.

The facts of a device, as `match_target` takes them:

    model      Linux: /proc/device-tree/model, without its NUL; Android: ro.product.model
    soc        Linux: the last name in /proc/device-tree/compatible; Android: ro.soc.model (since 12)
    board      Linux: the first name in /proc/device-tree/compatible; Android: ro.product.device
    os         linux | android | macos
    abi        the userland's, in uname's words (arm64-v8a: aarch64; 32 bits on a 64-bit kernel: armv7l)
    transport  local | ssh | adb | fake

A target without [match] is generic: it stands for every device of its os and abi that no other target fits.
"""

from __future__ import annotations

from edgekit.targets.device import Device
from edgekit.targets.target import Cluster, Sensor, Target, load_target, match_target, target_names

__all__ = ["Cluster", "Device", "Sensor", "Target", "load_target", "match_target", "target_names"]
