"""The subcommands of `agent`, one module each: its options, and what it does with them."""
