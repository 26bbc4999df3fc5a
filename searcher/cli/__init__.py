"""The `searcher` command's entrance: checks what it runs on before it imports anything that may be missing.

Older Pythons read this file too, for the sake of a clear message: it keeps to the syntax of 3.8.
"""

import sys
from typing import NoReturn

_PYTHON = (3, 11)


def main() -> None:
    """Run the command line, or say what is missing and exit with status 2."""
    if sys.version_info < _PYTHON:
        _refuse("searcher needs Python {}.{} or newer; this is {}.{}".format(*(_PYTHON + sys.version_info[:2])))
    try:
        import searcher.cli.application as application  # noqa: PLC0415 - it needs the packages looked for here
    except ModuleNotFoundError as e:
        if e.name is None or e.name.startswith(("searcher", "profiler_agent")):
            raise
        _refuse(f"searcher needs the package {e.name}: install it with pip install 'profiler-agent[search]'")
    application.run(sys.argv[1:])


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(sentence + "\n")
    raise SystemExit(2)
