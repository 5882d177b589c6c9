"""What is pushed to a device: self-contained, JSON lines out, never imports edgekit."""
