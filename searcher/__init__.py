"""The host: spaces, tables, cost models and searches. Needs Python 3.11 and the extra `search`."""
