"""What reaches devices (transport), what runs there (runtime, on_device)."""
