"""Data sets, training loops and reference models."""
