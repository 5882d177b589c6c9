"""The version, in one place: read by the package, the wheel and every record."""

__version__ = "0.1.0"
