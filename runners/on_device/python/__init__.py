"""The on-device runner in Python: one file, the standard library and the runtime's wheel."""
