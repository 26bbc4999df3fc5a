"""Tables and latencies that others published, read without trusting them."""
