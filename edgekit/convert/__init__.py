"""From a source to a bundle of proved artifacts.

    result = convert(load_source("mobilenet_v2_0.35"), parse_recipes(["tflite-fp32"]), Path("out"))

Each format is one file (tflite, onnx, coreml) behind `base.Converter`; no framework is imported before it is
needed.
"""

from __future__ import annotations

from edgekit.convert.base import CONVERTERS, Converter, Made, Step, Work
from edgekit.convert.calibrate import CalibrationData, from_array, read_data
from edgekit.convert.fuse_preprocessing import fuse_preprocessing
from edgekit.convert.images import read_labels
from edgekit.convert.methods import METHODS, known_method
from edgekit.convert.pipeline import convert
from edgekit.convert.preprocess import PRESETS, preprocessing_of, preprocessing_preset
from edgekit.convert.ptq.report import QuantizationReport
from edgekit.convert.ptq.tune import known_tuning
from edgekit.convert.ranges import CalibrationRecord
from edgekit.convert.results import Accuracy, ConvertResult, Failure, Verification
from edgekit.convert.wanted import wanted

__all__ = [
    "CONVERTERS",
    "METHODS",
    "PRESETS",
    "Accuracy",
    "CalibrationData",
    "CalibrationRecord",
    "ConvertResult",
    "Converter",
    "Failure",
    "Made",
    "QuantizationReport",
    "Step",
    "Verification",
    "Work",
    "convert",
    "from_array",
    "fuse_preprocessing",
    "known_method",
    "known_tuning",
    "preprocessing_of",
    "preprocessing_preset",
    "read_data",
    "read_labels",
    "wanted",
]
