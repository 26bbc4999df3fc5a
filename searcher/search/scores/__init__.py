"""What an architecture is worth without training it fully."""
