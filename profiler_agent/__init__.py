"""The agent: a light program that measures exported models on the device it runs on."""

__version__ = "0.1.0"
