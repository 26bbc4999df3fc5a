"""Search spaces: architectures, the blocks they are cut into, and their counts. Free of torch."""
