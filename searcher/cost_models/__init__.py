"""Cost models: what an architecture costs on a device, answered from a table."""
