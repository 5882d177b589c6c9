"""Constructed runs: what a bench of two devices and six artifacts looks like, with all that can go wrong."""

import random
from dataclasses import dataclass

import pytest

from edgekit.bench.run import ArtifactRef, MemoryReading, ParityReading, Run, RuntimeRef
from edgekit.bench.summary import Curve, Doubt, Estimate, Latency, Memory, Minute, Summary

MIB = 1 << 20
NO_POWER = {"unavailable": "no sensor"}
BOARD = "ssh://pi@10.0.0.7"
EMULATED = "ssh://root@127.0.0.1:2222"
RECIPES = (
    ("tflite-fp32", "fp32", 48.2, 31.5),
    ("tflite-fp16", "fp16", 48.9, 38.1),
    ("tflite-int8", "int8", 17.4, 12.2),
    ("tflite-int8-prune50", "int8", 12.9, 9.6),
    ("onnx-fp32", "fp32", 61.3, 44.9),
    ("onnx-int8", "int8", 25.8, 20.3),
)
HINTS = {
    "spread": "the samples scatter: stop other work there, cool it, fix the clock",
    "few-samples": "P95 needs 9 more: raise --runs or the time limit",
    "outputs-wrong": "the outputs are not the source's: don't use this artifact there",
    "emulated": "qemu-user is no hardware: these times say nothing of a device",
}
REAL = ("aarch64", "Raspberry Pi 4 Model B Rev 1.4", "6.6.31+rpt-rpi-v8")
QEMU = ("aarch64", "", "6.1.0-28-cloud-amd64")


@dataclass(kw_only=True)
class Make:
    """Makes (run, summary) pairs; every part can be set."""

    def __call__(self, *, index=0, device=BOARD, recipe="tflite-int8", **parts):
        run = self.run(index=index, device=device, recipe=recipe, **parts)
        return run, self.summary(run, **parts)

    def run(self, *, index, device, recipe, median_ms=17.4, count=200, noise=0.008, **parts):
        samples = parts.get("samples_ns")
        if samples is None:
            samples = self.samples(seed=index, median_ms=median_ms, count=count, noise=noise)
        soft = bool(parts.get("labels"))
        machine, model, kernel = QEMU if soft else REAL
        sha = f"{random.Random(recipe).getrandbits(256):064x}"
        size = int(median_ms * MIB / 4)
        return Run(
            id=f"run-{index:04d}",
            started_at=f"2026-03-02T10:{index % 60:02d}:00+00:00",
            device=device,
            target=parts.get("target", "generic-aarch64" if soft else "raspberry-pi-4"),
            facts=parts.get("facts", {"machine": machine, "model": model, "kernel": kernel}),
            artifact=ArtifactRef(
                recipe=recipe, format=recipe.split("-")[0], precision=parts.get("precision", ""),
                sha256=sha, size_bytes=size, source=parts.get("source", "mobilenet_v2"), bundle="out/mnv2",
            ),
            runtime=parts.get("runtime", RuntimeRef(name="litert", version="2.1.0", threads=4)),
            plan={"runs": 200, "warmup": 10, "threads": 4, "max_s": 60},
            load_ns=parts.get("load_ns", 8_210_000),
            first_ns=parts.get("first_ns", int(median_ms * 1.9e6)),
            warmup_ns=tuple(int(median_ms * 1.05e6) for _ in range(10)),
            samples_ns=tuple(samples),
            memory=parts.get("memory", self.memory(median_ms)),
            power=parts.get("power", NO_POWER),
            parity=parts.get("parity", self.parity()),
            conditions=parts.get("conditions", self.conditions(soft=soft)),
            ended=parts.get("ended", "done"),
            versions={"edgekit": "0.1.0", "protocol": "1"},
        )  # fmt: skip

    def summary(self, run, *, doubts=(), verdict=None, labels=(), withheld="", **parts):
        worst = verdict or ("valid" if not doubts else max((d.verdict for d in doubts), key=len))
        first, peak = (run.memory[0], run.memory[-1]) if run.memory else (None, None)
        memory = peak and Memory(
            baseline_bytes=first.pss_bytes + first.swap_bytes,
            peak_pss_bytes=peak.pss_bytes + peak.swap_bytes,
            peak_over_baseline_bytes=peak.pss_bytes + peak.swap_bytes - first.pss_bytes - first.swap_bytes,
            private_dirty_bytes=peak.private_dirty_bytes,
        )
        ms = sorted(n / 1e6 for n in run.samples_ns)
        return Summary(
            run_id=run.id, latency=self.latency(run, ms, withheld, parts), memory=memory, power=run.power,
            doubts=tuple(doubts), verdict="invalid" if "invalid" in {d.verdict for d in doubts} else worst,
            labels=tuple(labels), curve=parts.get("curve"),
        )  # fmt: skip

    @staticmethod
    def curve(*middles):
        """Return a curve of these P50s, in milliseconds, each with an interval of 1 % to both sides."""
        made = [Estimate(value=m, low=m * 0.99, high=m * 1.01) for m in middles]
        minutes = [Minute(number=i, count=900, p50_ms=e, p95_ms=None) for i, e in enumerate(made, start=1)]
        ratio = middles[-1] / middles[0] - 1
        return Curve(
            minutes=tuple(minutes), slowdown=Estimate(value=ratio, low=ratio - 0.01, high=ratio + 0.01)
        )

    @staticmethod
    def latency(run, ms, withheld, parts):
        def at(share, low, high):
            pick = [ms[min(len(ms) - 1, max(0, int(s * len(ms))))] for s in (share, low, high)]
            worth = len(ms) * parts.get("worth", 1.0)
            return Estimate(value=pick[0], low=pick[1], high=pick[2], n=len(ms), n_eff=worth)

        return Latency(
            count=len(ms),
            load_ms=None if run.load_ns is None else run.load_ns / 1e6,
            first_ms=None if run.first_ns is None else run.first_ns / 1e6,
            p50_ms=at(0.5, 0.43, 0.57) if len(ms) >= 6 else None,
            p90_ms=at(0.9, 0.86, 0.94) if len(ms) >= 29 else None,
            p95_ms=at(0.95, 0.92, 0.98) if len(ms) >= 59 else None,
            p99_ms=at(0.99, 0.97, 1.0) if len(ms) >= 299 else None,
            warmup_count=10,
            withheld=withheld or (f"P95 needs 59 samples, {59 - len(ms)} more" if len(ms) < 59 else ""),
        )

    @staticmethod
    def samples(*, seed, median_ms, count, noise):
        rng = random.Random(seed)
        out = []
        for _ in range(count):
            spike = rng.choice((1.06, 1.1, 1.18)) if rng.random() < 0.04 else 1.0
            out.append(int(median_ms * 1e6 * rng.lognormvariate(0, noise) * spike))
        return out

    @staticmethod
    def memory(median_ms):
        def reading(phase, mib):
            size = int(mib * MIB)
            return MemoryReading(
                phase=phase, pss_bytes=size, private_dirty_bytes=int(size * 0.8), swap_bytes=0, file_bytes=0
            )

        grown = median_ms * 0.55
        return (
            reading("baseline", 21.4), reading("loaded", 21.4 + grown * 0.6),
            reading("first", 21.4 + grown * 0.97), reading("peak", 21.4 + grown),
        )  # fmt: skip

    @staticmethod
    def parity(*, ok=True, error=0.00213, limit=0.02, snr=38.4, top1=1.0, blind=False):
        return ParityReading(
            max_abs_error=error, snr_db=snr, top1_agreement=top1, limit=limit,
            tolerance="four steps of the output's scale, against the host's own outputs",
            ok=ok, count=8, blind=blind,
        )  # fmt: skip

    @staticmethod
    def conditions(*, soft=False):
        def at(when, load, celsius, mhz):
            told = {"when": when, "load1": load, "mem_available_bytes": 3_204_448_256, "cpus_allowed": "0-3"}
            if not soft:
                told["clusters"] = [
                    {"cpus": "0-3", "governor": "ondemand", "cur_khz": mhz * 1000, "max_khz": 1_800_000}
                ]
                told["temperatures"] = {"cpu-thermal": celsius}
            return told

        return (at("before", 0.12, 44.3, 600), at("during", 2.9, 52.1, 1800), at("after", 3.1, 53.7, 1800))

    @staticmethod
    def doubt(code="spread", *, value=0.31, limit=0.1, verdict="suspect", hint=None):
        return Doubt(
            code=code, value=value, limit=limit, hint=HINTS[code] if hint is None else hint, verdict=verdict
        )


@pytest.fixture(scope="session")
def make():
    return Make()


@pytest.fixture(scope="session")
def bench(make):
    """Two devices x six artifacts: a spread one, a withheld P95, an invalid one, an emulated device."""
    return example_bench(make)


def example_bench(make):
    pairs = []
    for soft, device in ((False, BOARD), (True, EMULATED)):
        for place, (recipe, precision, board_ms, _) in enumerate(RECIPES):
            index = len(pairs)
            parts = {"precision": precision, "median_ms": board_ms * (9.3 if soft else 1), "doubts": []}
            if recipe.startswith("onnx"):
                parts["runtime"] = RuntimeRef(name="onnxruntime", version="1.23.1", threads=4)
            if soft:
                parts |= {"labels": ("emulated: qemu-user",), "count": 80, "noise": 0.05}
                parts["doubts"].append(make.doubt("emulated", value=1, limit=0))
            if place == 1:
                parts |= {"count": 50}
                parts["doubts"].append(make.doubt("few-samples", value=50, limit=59))
            if place == 4 and not soft:
                parts |= {"noise": 0.09}
                parts["doubts"].append(make.doubt("spread"))
            if place == 5:
                parts["parity"] = make.parity(ok=False, error=0.873, snr=4.1, top1=0.375)
                wrong = make.doubt("outputs-wrong", value=0.873, limit=0.02, verdict="invalid")
                parts["doubts"].insert(0, wrong)
            pairs.append(make(index=index, device=device, recipe=recipe, **parts))
    return pairs
