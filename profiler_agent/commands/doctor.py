"""`agent doctor`: what would disturb a measurement here, and how to mend it."""

from __future__ import annotations

import argparse
import json
import os
from typing import List, Optional, Tuple

from profiler_agent.commands import options as kinds
from profiler_agent.decoding import encode
from profiler_agent.doctor import DISTURBS, OK, UNKNOWN, Finding, diagnose
from profiler_agent.leftovers import DENIED, UNDONE, undo_leftovers
from profiler_agent.report import diagnosis
from profiler_agent.system_files import ROOT
from profiler_agent.undo_record import state_folders


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.description = "Tell what would disturb a measurement here, and how to mend it."
    parser.add_argument("--affinity", type=kinds.processors, help="processors to be measured on, such as 0,1 (all)")
    parser.add_argument("--strict", action="store_true", help="end with status 1 if anything disturbs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Examine, tell, and return the exit status."""
    # First, so that the checks see the machine as the next measurement will.
    findings = [*_leftovers(), *diagnose(options.affinity or _inherited_affinity())]
    if options.json:
        print(json.dumps({"findings": [encode(finding) for finding in findings]}, indent=2))
    else:
        print(diagnosis(findings))
    disturbed = any(finding.verdict == DISTURBS for finding in findings)
    return 1 if options.strict and disturbed else 0


def _leftovers() -> List[Finding]:
    """Undo what an agent that was killed left tuned."""
    verdicts = {UNDONE: OK, DENIED: UNKNOWN}
    return [
        Finding(
            check="tuning",
            verdict=verdicts.get(one.outcome, DISTURBS),
            sentence=one.sentence,
            remedy="sudo agent doctor" if one.outcome == DENIED else "",
        )
        for one in undo_leftovers(ROOT, state_folders(ROOT))
    ]


def _inherited_affinity() -> Optional[Tuple[int, ...]]:
    """Return the processors that whoever started the agent left to it; None if that is all."""
    try:
        usable = tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # systems without it
        return None
    return usable if len(usable) < (os.cpu_count() or 1) else None
