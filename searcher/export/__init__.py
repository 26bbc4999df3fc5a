"""Torch modules written as files that a device's runtime reads."""
