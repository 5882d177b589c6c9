"""Probes: what is sampled beside latency, one sensor family a file."""
