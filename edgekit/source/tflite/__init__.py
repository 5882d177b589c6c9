"""TFLite networks as sources: read without trust, carried over to a frozen graph operation by operation."""
