"""Whether the outputs on a device are right: the one place where on-device tolerances are made.

The float source's outputs S lie in the bundle, and how far this artifact was from them on the host is
recorded there: |host - S| <= E. The device computes the same artifact with other kernels: a value may
differ from the host's by a slack K. So |device - S| <= E + K, the triangle inequality, and that is the
limit. It holds for the root mean square too, with the host's from its SNR and a quarter of the slack:
kernels differ in a few values. This second limit sees what the first can't where an int8 artifact has one
large error on the host: outputs that are wrong everywhere by less than that.

    precision   K                       why
    fp32        1e-4 of the span        sums in another order; 1e-8 to 1e-5 seen
    fp16        4 x 2^-10 of the span   four roundings of an 11-bit significand
    int8        4 steps of the output   2 steps seen between x86 and ARM kernels of the same runtime
                and a fifth of E        other kernels draw the rounding noise anew, and the largest of
                                        thousands of errors is then another: 0.236 and 0.259 seen
    w8u8 dyn8   the same                8-bit activations, handed over as floats
    w8a16       as fp16                 16-bit steps are finer than its significand
    w8          as fp32                 computed in floats

The span is the largest absolute value of S. The step is the quantized output's scale, or the span / 255
where the output is handed over as floats. Near ties count as the same top-1: kernels may settle them
differently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.bench.run import ParityReading
from edgekit.runners.lines import output_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from edgekit.artifact import Artifact

    Array = np.ndarray[Any, np.dtype[np.float32]]
    Doubles = np.ndarray[Any, np.dtype[np.float64]]

FP32_SLACK = 1e-4
FP16_SLACK = 4 * 2.0**-10
INT8_STEPS = 4
INT8_LEVELS = 255
REDRAWN = 0.2
"""Of E: the maxima of two draws of 16,000 normal errors differ by less than this in 19 of 20 cases."""
EIGHT_BITS = ("int8", "w8u8", "dyn8")
SIXTEEN_BITS = ("fp16", "w8a16")
RMS_SHARE = 0.25
"""Of the slack of a single value, for the root mean square of all."""
UNPROVEN_ERROR = {"fp32": 1e-4, "fp16": 1e-2, "int8": 1e-1}
"""Stands in for E, as a share of the span, where the host could not run the artifact."""
SNR_CAP_DB = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far the device's outputs may be from the source's.

    Attributes:
        limit: for the largest absolute difference from the source's outputs.
        rms_limit: for the root mean square of the differences.
        slack: the part of `limit` that another device's kernels may add.
        rule: where it comes from, in words.
    """

    limit: float
    rms_limit: float
    slack: float
    rule: str

    def holds(self, errors: Doubles) -> bool:
        """Return whether differences from the source keep to both limits."""
        return float(abs(errors).max()) <= self.limit and _rms(errors) <= self.rms_limit


def tolerance(artifact: Artifact, expected: Array) -> Tolerance:
    """Return the tolerance of an artifact.

    Args:
        artifact: its precision, its output's step and its parity on the host count.
        expected: the source's outputs for the golden inputs, any shape.
    """
    source = expected.astype("float64")
    span = float(abs(source).max())
    slack, why = _slack(artifact, span)
    if artifact.parity is None:
        error = rms = UNPROVEN_ERROR.get(artifact.precision, UNPROVEN_ERROR["fp32"]) * span
        rule = f"{error:.3g} (the host can't run it) + {why}"
    else:
        error = artifact.parity.max_abs_error
        rms = min(error, _rms(source) * 10 ** (-artifact.parity.snr_db / 20))
        rule = f"{error:.3g} on the host + {why}"
        if artifact.precision in EIGHT_BITS:
            error *= 1 + REDRAWN
            rule += f", + {REDRAWN:.0%} for noise drawn anew"
    return Tolerance(limit=error + slack, rms_limit=rms + RMS_SHARE * slack, slack=slack, rule=rule)


def outputs_of(events: Iterable[Mapping[str, Any]]) -> dict[int, dict[int, Array]]:
    """Collect the `output` events: golden index -> output index -> array, as the device sent it.

    Raises:
        ValueError: data that is no base64 or does not fill its shape (the runner lets none of it through).
    """
    found: dict[int, dict[int, Array]] = {}
    for event in events:
        if event["e"] == "output":
            found.setdefault(int(event["golden"]), {})[int(event["output"])] = output_array(event)
    return found


def compare(
    outputs: Mapping[int, Mapping[int, Array]], expected: Array, artifact: Artifact, *, whole: bool
) -> ParityReading | None:
    """Hold the device's outputs against the source's.

    Args:
        outputs: golden index -> output index -> array (see `outputs_of`).
        expected: the source's outputs, N x output shape.
        artifact: what ran.
        whole: whether the run came to its end, so that a missing output is a wrong one.

    Returns:
        None when the run was broken off before the first golden input.
    """
    if not outputs and not whole:
        return None
    bar = tolerance(artifact, expected)
    got = {index: _flat(arrays, artifact) for index, arrays in outputs.items()}
    wrong = _misfit(got, expected, whole=whole)
    if wrong:
        return ParityReading(
            max_abs_error=None,
            snr_db=None,
            top1_agreement=None,
            limit=bar.limit,
            tolerance=wrong,
            ok=False,
            count=len(got),
        )
    return _reading(got, expected, bar)


def _reading(got: Mapping[int, Doubles], expected: Array, bar: Tolerance) -> ParityReading:
    import numpy as np

    indices = sorted(got)
    device = np.stack([got[i] for i in indices])
    source = expected.reshape(len(expected), -1)[indices].astype(np.float64)
    errors = device - source
    # The mean answer ignores the input: where even that one passes, passing proves little.
    constant = source.mean(axis=0) if len(source) > 1 else source.mean()
    return ParityReading(
        max_abs_error=float(np.max(np.abs(errors))),
        snr_db=_snr_db(source, errors),
        top1_agreement=_top1(source, device, margin=2 * bar.slack),
        limit=bar.limit,
        tolerance=bar.rule,
        ok=bar.holds(errors),
        count=len(indices),
        blind=bar.holds(source - constant),
        rms_error=_rms(errors),
        rms_limit=bar.rms_limit,
    )


def _slack(artifact: Artifact, span: float) -> tuple[float, str]:
    if artifact.precision in EIGHT_BITS:
        scales = [t.scale for t in artifact.outputs if t.scale is not None]
        step = max(scales) if scales else span / INT8_LEVELS
        return INT8_STEPS * step, f"{INT8_STEPS} steps of {step:.3g}"
    share = FP16_SLACK if artifact.precision in SIXTEEN_BITS else FP32_SLACK
    return share * span, f"{share:.3g} of the span {span:.3g}"


def _flat(arrays: Mapping[int, Array], artifact: Artifact) -> Doubles:
    """Return all outputs of one golden input as one vector, channels last as the source has them."""
    import numpy as np

    parts = []
    for index in sorted(arrays):
        array = arrays[index]
        spec = artifact.outputs[index] if index < len(artifact.outputs) else None
        if spec is not None and spec.layout == "NCHW" and array.ndim == 4:  # noqa: PLR2004
            array = np.transpose(array, (0, 2, 3, 1))
        parts.append(array.ravel().astype(np.float64))
    return np.concatenate(parts)


def _misfit(got: Mapping[int, Doubles], expected: Array, *, whole: bool) -> str:
    """Return why outputs can't be compared, or an empty string."""
    size = math.prod(expected.shape[1:])
    strange = [i for i in got if not 0 <= i < len(expected)]
    if strange:
        return f"an output for golden input {strange[0]}, of {len(expected)}"
    missing = [i for i in range(len(expected)) if i not in got]
    if missing and whole:
        return f"no output for golden input {missing[0]}"
    for index, values in sorted(got.items()):
        if values.size != size:
            return f"{values.size} output values for golden input {index}, the source has {size}"
        strays = sum(not math.isfinite(value) for value in values.tolist())
        if strays:
            return f"{strays} output values of golden input {index} are not finite"
    return ""


def _rms(values: Doubles) -> float:
    return math.sqrt(float((values**2).mean()))


def _snr_db(source: Doubles, errors: Doubles) -> float:
    signal, noise = float((source**2).sum()), float((errors**2).sum())
    if noise == 0:
        return SNR_CAP_DB
    if signal == 0:
        return -SNR_CAP_DB
    return max(-SNR_CAP_DB, min(SNR_CAP_DB, 10 * math.log10(signal / noise)))


def _top1(source: Doubles, device: Doubles, *, margin: float) -> float:
    import numpy as np

    chosen = np.take_along_axis(source, device.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float(np.mean(chosen >= source.max(axis=1) - margin))
