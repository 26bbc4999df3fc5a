"""The way to a device: transports, deployment of the agent, and driving it."""
