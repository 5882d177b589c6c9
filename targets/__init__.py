"""Targets are kinds of devices, one TOML each in this folder; a Device is one of a kind, with an address.

A target file reads:

    title = "Raspberry Pi 5"
    soc = "Broadcom BCM2712"
    os = "linux"                        # linux | android | macos
    abi = "aarch64"                     # uname's word: aarch64 | armv7l | x86_64
    transports = ["ssh"]
    runtimes = ["litert", "onnxruntime"]
    memory_mib = [2048, 4096, 8192, 16384]
    sources = ["https://..."]           # where these facts were read
    note = ""                           # what a user has to know, if anything

    [match]                             # how a device is recognized: a regular expression a fact
    model = "^Raspberry Pi 5"           # facts: model, soc, board (see edgekit.runners.facts)

    [[cores]]                           # a cluster each, the biggest first
    name = "Cortex-A76"
    count = 4
    max_mhz = 2400
    features = ["dotprod", "fp16"]

    [[sensors]]
    measures = "power"                  # power | temperature | throttling
    source = "vcgencmd pmic_read_adc"
    note = "..."
"""

from __future__ import annotations

from edgekit.targets.device import Device
from edgekit.targets.target import Cluster, Sensor, Target, load_target, match_target, target_names

__all__ = ["Cluster", "Device", "Sensor", "Target", "load_target", "match_target", "target_names"]
