"""Kernels' latencies from models that were trained on measured ones, each type of kernel with a model of its own."""
