"""Core ML on a Mac, and from there on an iPhone, by the Mac's own coremltools (9 or newer).

Sources: coremltools 9.0, models/model.py (MLModel: predict, load_duration_in_nano_seconds and
last_predict_duration_in_nano_seconds, which are the times of the framework's own calls) and
models/ml_program/experimental (remote_device.Device, async_wrapper.RemoteMLModelAsyncWrapper).
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import platform
import sys
from typing import Any

from .runtimes import one, release
from .spool import Trouble

UNITS, REMOTE, TEAM = "EDGEKIT_COMPUTE_UNITS", "EDGEKIT_REMOTE_DEVICE", "EDGEKIT_DEVELOPMENT_TEAM"
FLOATS = {65552: "float16", 65568: "float32", 65600: "float64"}  # FeatureTypes.proto, ArrayDataType
EXPERIMENTAL = "coremltools.models.ml_program.experimental."


class Coreml:
    """Core ML. The timed span is the framework's own call, by the framework's side of coremltools.

    Its clock leaves out Python, the copies that it makes, and for an iPhone the cable.
    """

    threads = 0  # its own affair

    def __init__(self) -> None:
        if sys.platform != "darwin":
            raise Trouble("runtime", "Core ML runs on Macs only, and this is " + sys.platform)
        self.tools: Any = importlib.import_module("coremltools")
        self.took: list[int] = []
        self.units: Any = getattr(self.tools.ComputeUnit, os.environ.get(UNITS) or "ALL")
        name = os.environ.get(REMOTE) or ""
        self.remote: Any = connected(name) if name else None
        where = "macOS " + platform.mac_ver()[0]
        if self.remote is not None:
            told = (self.remote.type.value, self.remote.name, self.remote.os_version)
            where = "{} {!r}, OS {}, from ".format(*told) + where
        self.version = release(self.tools, "coremltools") + " on " + where

    def load(self, path: str, threads: int) -> None:
        """Compile and load a package; how many threads it takes is its own affair."""
        del threads
        model = self.tools.models.MLModel(path, compute_units=self.units, skip_model_load=bool(self.remote))
        description = model.get_spec().description
        self.describe(one(list(description.input)), list(description.output))
        if self.remote is None:
            if model.__proxy__ is None:
                raise Trouble("load", "Core ML did not load it; what coremltools warned of is in the log")
            self.model, self.predict = model, model.predict
        else:
            self.model, self.predict = self.away(path)
        self.took = [self.told(self.model.load_duration_in_nano_seconds)]

    def describe(self, given: Any, outputs: list[Any]) -> None:
        """Keep the names and the shape."""
        array = given.type.multiArrayType
        if given.type.WhichOneof("Type") != "multiArrayType" or array.dataType not in FLOATS:
            raise Trouble("load", f"input {given.name!r} is no array of floats")
        self.name, self.shape = given.name, tuple(int(n) for n in array.shape)
        self.names = [output.name for output in outputs]

    def away(self, path: str) -> Any:
        """Load it on the device that is connected; return the remote model and how it predicts."""
        wrapper = importlib.import_module(EXPERIMENTAL + "async_wrapper")
        loop = asyncio.new_event_loop()
        device = loop.run_until_complete(self.remote.prepare_for_model_debugging(credentials()))
        atexit.register(device.session.stop)
        model = wrapper.RemoteMLModelAsyncWrapper(path, "", device, compute_units=self.units)
        loop.run_until_complete(model.load())
        return model, lambda given: loop.run_until_complete(model.predict(given))

    def told(self, ns: Any) -> int:
        """Return a duration that coremltools told."""
        if ns is None:
            raise Trouble("invoke", "coremltools does not tell how long Core ML itself took")
        return int(ns)

    def feed(self, sample: Any) -> None:
        """Keep a float32 array of the input's shape for the input."""
        self.given = {self.name: sample.astype("float32")}

    def invoke(self) -> None:
        """Predict."""
        self.answer = self.predict(self.given)
        self.took.append(self.told(self.model.last_predict_duration_in_nano_seconds))

    def own(self, outer: list[int]) -> list[int]:
        """Return what the last calls took, by the framework; `outer` is what they took from outside."""
        self.took, own = [], self.took[-len(outer) :]
        return own

    def outputs(self) -> list[Any]:
        """Return every output as float32, in the order of the package's own description."""
        numpy = importlib.import_module("numpy")
        return [numpy.ascontiguousarray(self.answer[name], dtype="<f4") for name in self.names]


def connected(name: str) -> Any:
    """Return the connected device with this name, identifier or UDID."""
    module = importlib.import_module(EXPERIMENTAL + "remote_device")
    found = [d for d in module.Device.get_devices() if d.state == module.DeviceState.CONNECTED]
    for device in found:
        if name in (device.name, device.identifier, device.udid):
            return device
    there = ", ".join(repr(device.name) for device in found) or "none"
    raise Trouble("runtime", f"no device {name!r} is connected to this Mac; connected: {there}")


def credentials() -> Any:
    """Return who signs the program that coremltools puts on the device."""
    module = importlib.import_module(EXPERIMENTAL + "remote_device")
    return module.AppSigningCredentials(development_team=os.environ.get(TEAM, ""))
