"""A stand-in for coremltools 9 on a Mac: the calls that EdgeKit makes, with the same signatures.

A test holds them against the real ones. A package is a folder with weights.npy (3 x N): the network is the
mean over height and width, times the weights. Every call is written down in $STANDIN_LOG. Durations are 1 ms
and some, so that they can be told from those of this machine's clock.
"""
# ruff: noqa: FBT002, PLR0917 - the signatures are not ours

import enum
import json
import os
import pathlib
import sys
import time
import types
from dataclasses import dataclass, replace

import numpy as np

__version__ = "9.0"
LOADED, PREDICTED = 7_000_000, 1_000_000


def note(**told):
    if os.environ.get("STANDIN_LOG"):
        with pathlib.Path(os.environ["STANDIN_LOG"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


class ComputeUnit(enum.Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


def feature(name, shape, kind=65568):
    array = types.SimpleNamespace(shape=list(shape), dataType=kind)
    which = os.environ.get("STANDIN_INPUT", "multiArrayType")
    return types.SimpleNamespace(
        name=name, type=types.SimpleNamespace(multiArrayType=array, WhichOneof=lambda _: which)
    )


class MLModel:
    def __init__(
        self,
        model,
        is_temp_package=False,
        mil_program=None,
        skip_model_load=False,
        compute_units=ComputeUnit.ALL,
        weights_dir=None,
        function_name=None,
        optimization_hints: dict | None = None,
    ) -> None:
        del is_temp_package, mil_program, weights_dir, function_name, optimization_hints
        note(call="MLModel", units=compute_units.name, skip=skip_model_load, path=str(model))
        self.weights = np.load(pathlib.Path(model) / "weights.npy")
        dead = skip_model_load or os.environ.get("STANDIN_DEAD")
        self.__proxy__ = None if dead else self
        self.count = 0

    def get_spec(self):
        given, told = feature("input", (1, 8, 8, 3)), feature("output", (1, self.weights.shape[1]))
        return types.SimpleNamespace(description=types.SimpleNamespace(input=[given], output=[told]))

    def predict(self, data, state=None):
        assert state is None
        assert set(data) == {"input"}
        self.count += 1
        if os.environ.get("STANDIN_HANG"):
            note(call="hang", pid=os.getpid())
            time.sleep(3600)
        return {"output": data["input"].mean(axis=(1, 2)) @ self.weights}

    @property
    def load_duration_in_nano_seconds(self):
        return LOADED

    @property
    def last_predict_duration_in_nano_seconds(self):
        return None if os.environ.get("STANDIN_MUTE") else PREDICTED + self.count


class DeviceType(enum.Enum):
    MAC = "mac"
    IPHONE = "iphone"


class DeviceState(enum.Enum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class AppSigningCredentials:
    development_team: str | None = ""
    provisioning_profile_uuid: str | None = None
    bundle_identifier: str | None = None


@dataclass(frozen=True)
class Device:
    name: str
    type: DeviceType
    identifier: str
    udid: str
    os_version: str
    os_build_number: str
    developer_mode_state: str
    state: DeviceState
    session: object

    @staticmethod
    def get_devices():
        def make(name, state):
            return Device(
                name, DeviceType.IPHONE, f"id of {name}", "0000", "18.1", "22B83", "on", state, None
            )

        return [make("Anna", DeviceState.CONNECTED), make("Old", DeviceState.DISCONNECTED)]

    async def prepare_for_model_debugging(self, credentials=None, working_directory=None, clean=False):
        del working_directory, clean
        note(call="prepare", device=self.name, team=credentials.development_team)
        session = types.SimpleNamespace(stop=lambda: note(call="stop", device=self.name))
        return replace(self, session=session)


class RemoteMLModelAsyncWrapper:
    def __init__(
        self,
        spec_or_path,
        weights_dir,
        device,
        compute_units=ComputeUnit.ALL,
        function_name=None,
        optimization_hints=None,
    ):
        del function_name, optimization_hints
        assert isinstance(spec_or_path, str)
        assert isinstance(weights_dir, str)
        assert device.session is not None
        self.model = MLModel(spec_or_path, compute_units=compute_units)

    async def load(self):
        note(call="load far away")

    async def predict(self, inputs, state=None):
        return self.model.predict(inputs, state)

    @property
    def load_duration_in_nano_seconds(self):
        return 3 * LOADED

    @property
    def last_predict_duration_in_nano_seconds(self):
        return 3 * self.model.last_predict_duration_in_nano_seconds


def _module(name, **content):
    made = types.ModuleType(f"coremltools.{name}")
    vars(made).update(content)
    sys.modules[made.__name__] = made
    return made


__path__ = []
models = _module("models", MLModel=MLModel, __path__=[])
_module("models.ml_program", __path__=[])
_module("models.ml_program.experimental", __path__=[])
_module(
    "models.ml_program.experimental.remote_device",
    Device=Device, DeviceState=DeviceState, DeviceType=DeviceType,
    AppSigningCredentials=AppSigningCredentials,
)  # fmt: skip
_module("models.ml_program.experimental.async_wrapper", RemoteMLModelAsyncWrapper=RemoteMLModelAsyncWrapper)
