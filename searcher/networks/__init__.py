"""Torch modules built from architectures and blocks."""
