"""Lookup tables of measured blocks: load, save, fill, compare, merge, check, and exchange with others."""
