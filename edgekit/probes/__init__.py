"""Probes: what is sampled beside latency, one sensor family a file."""

from __future__ import annotations

from edgekit.probes.base import Probe, Refusal, SensorError, Term, Watch
from edgekit.probes.find import PROBES, Found, Unavailable, find

__all__ = [
    "PROBES",
    "Found",
    "Probe",
    "Refusal",
    "SensorError",
    "Term",
    "Unavailable",
    "Watch",
    "find",
]
