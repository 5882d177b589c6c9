"""Benching: the plan, the raw run, and what is derived from it."""
