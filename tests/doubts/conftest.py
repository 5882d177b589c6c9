"""A device that can be altered, and a bench of it that is a whole one."""

import json
import threading
from dataclasses import replace

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.bench.summarize import summarize
from edgekit.testing.altered import AlteredDevice, why_not
from edgekit.testing.runs import example_samples
from edgekit.testing.waiting import until

MIB = 1 << 20
CALM = [{"where": {"e": "samples"}, "name": "samples", "play": list(example_samples())},
        {"where": {"e": "warmup"}, "put": {"ns": list(example_samples(10))}},
        {"where": {"e": "conditions"}, "put": {"load1": 0.0, "canary_ns": 200_000,
                                               "mem_available_bytes": 64 << 30}}]  # fmt: skip
"""What an idle device would have told: whatever else this machine is busy with is no matter then."""


class Bench:
    """A bench of one artifact on an altered device.

    Attributes:
        device: to be altered.
        place: the device's folder there.
    """

    def __init__(self, device, place, artifact):
        self.device, self.place, self.artifact = device, place, artifact
        self.options = {"runs": 200, "warmup": 10, "max_s": 60.0, "runtime": "null", "program": "python"}
        self.allowed = False

    def calm(self):
        """Let everything that is not altered be as on an idle device."""
        self.device.tells(*CALM)
        return self

    def run(self, **options):
        """Run it; return the run, and what failed."""
        made = make_plan([self.artifact], ["local://"], **{**self.options, **options})
        result = execute(replace(made, allow_fallback=self.allowed), None, opened=self.device.opened)
        assert len(result.runs) == 1, result.failed
        return result.runs[0]

    def codes(self, **options):
        """Run it; return the doubts by their codes."""
        return {doubt.code: doubt for doubt in summarize(self.run(**options)).doubts}

    def while_timed(self, act, *, looks=0, **options):
        """Run it without an end, act once samples have come, and end it after so many looks at its
        conditions; return its doubts."""
        worker = threading.Thread(target=self._act, args=(act, looks))
        worker.start()
        try:
            return self.codes(**{"runs": 1_000_000, "period_s": 0.01, **options})
        finally:
            worker.join()

    def spool(self, name):
        """Return the path of a pass's spool, once it is there."""
        until(lambda: list(self.place.glob(f"runs/*/{name}.jsonl")), patience_s=60)
        return next(self.place.glob(f"runs/*/{name}.jsonl"))

    def _act(self, act, looks):
        spool = self.spool("latency")
        until(lambda: '"samples"' in spool.read_text(), patience_s=60)
        act(spool)
        seen = spool.read_text().count('"during"') + looks if spool.exists() else 0
        until(lambda: not spool.exists() or spool.read_text().count('"during"') >= seen, patience_s=60)
        if spool.exists():
            spool.with_suffix(".enough").touch()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench of the null runtime on this machine, altered."""
    if reason := why_not():
        pytest.skip(reason)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    artifact = tmp_path / "network.tflite"
    artifact.write_bytes(b"nothing is computed")
    return Bench(AlteredDevice(tmp_path / "altered"), tmp_path / "cache/edgekit/device", artifact)


@pytest.fixture
def pid_of():
    """Return a call that reads the process's number from its spool."""

    def read(spool):
        lines = [json.loads(line) for line in spool.read_text().splitlines()]
        return next(line["pid"] for line in lines if line["e"] == "hello")

    return read
