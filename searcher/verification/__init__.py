"""Winners of a search, measured whole on the device and judged."""
