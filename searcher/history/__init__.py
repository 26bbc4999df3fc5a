"""The host's record of jobs and of all that was measured in them, from which tables can be made again."""
