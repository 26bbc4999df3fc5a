"""Lookup tables of measured blocks: load, save, fill."""
