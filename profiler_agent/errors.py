"""The agent's errors: one root, each with the exit status that the command line ends with."""


class AgentError(Exception):
    """Something went wrong that the user can understand; the message is one clear sentence."""

    exit_status = 1


class BadInputError(AgentError):
    """The user's input cannot be used: a file, a name or an option."""

    exit_status = 2


class RecordError(BadInputError):
    """A document or a line is not a record that this version understands."""


class SessionError(AgentError):
    """A runtime could not open or run a model.

    Attributes:
        code: short stable name of the reason, as `failed` records carry it.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
