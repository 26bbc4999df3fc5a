"""The host's errors: one root, and what each says to the exit status."""


class SearcherError(Exception):
    """Something went wrong that the user can understand; the message is one clear sentence.

    Attributes:
        exit_status: what the command line ends with (1: the run failed or a limit was missed).
    """

    exit_status = 1


class BadInputError(SearcherError):
    """The user's input cannot be used: a file, a name or an option (exit status 2)."""

    exit_status = 2
