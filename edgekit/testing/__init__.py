"""For plug-in authors and for our own tests: contracts to inherit, doubles that speak the real protocols."""
