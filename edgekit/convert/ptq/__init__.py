"""Post-training quantization: weights, biases and ranges made for 8 bits, without labels."""
