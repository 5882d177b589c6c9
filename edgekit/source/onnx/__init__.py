"""ONNX networks as sources: read, made static, and carried over to a frozen graph operation by operation."""
