"""Reading a job's journal while it grows, from another process."""

from __future__ import annotations

from typing import Callable, Iterator

from profiler_agent import interrupts
from profiler_agent.job_folder import JobFolder, State
from profiler_agent.journal import partial_path

# Looking costs some tens of microseconds, on a machine that measures.
_POLL_S = 0.25


def follow(folder: JobFolder, after: int, sleep: Callable[[float], None]) -> Iterator[str]:
    """Yield the whole lines of a job's events, newline included, until nobody works on the job any more.

    The first line of a journal, which is the job, is no event.

    Args:
        folder: the job.
        after: events to leave out.
        sleep: waits between two looks.
    """
    # One file all the way: it keeps its identity when it gets its final name.
    position, skip = 0, after + 1
    while True:
        interrupts.check()
        # Asked first: what was written before the end is read after it.
        running = folder.state() is State.RUNNING
        for line in _whole_lines(folder, position):
            position += len(line)
            if skip > 0:
                skip -= 1
            else:
                yield line.decode("utf-8", errors="replace")
        if not running:
            return
        sleep(_POLL_S)


def count_events(folder: JobFolder) -> int:
    """Return how many whole events a job's journal holds."""
    return max(0, sum(1 for _ in _whole_lines(folder, 0)) - 1)


def _whole_lines(folder: JobFolder, position: int) -> Iterator[bytes]:
    """Yield the lines behind a position that have their end; none where there is no journal yet."""
    # It may get its final name between two looks, but never loses that again.
    for path in (partial_path(folder.journal), folder.journal):
        try:
            journal = path.open("rb")
        except FileNotFoundError:
            continue
        with journal:
            journal.seek(position)
            for line in journal:
                if not line.endswith(b"\n"):
                    return
                yield line
        return
