"""Latency-regularised DARTS-CC: a family of architectures, one for every point of a control, from one run."""
