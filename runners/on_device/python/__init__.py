"""The on-device runner in Python: pushed as one file, the standard library and the runtime's wheel."""
