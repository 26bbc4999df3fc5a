"""The roads that join rooms: profile a space, search under a limit, verify, the demo."""
