"""Core ML programs (MIL): held to their source's weights, and evaluated operation by operation in numpy."""
