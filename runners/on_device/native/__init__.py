"""The native program: C sources, and what compiles them when a wheel is built."""
