"""`agent compare`: two journals held against each other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from profiler_agent.commands import options as kinds
from profiler_agent.compare import compare, key_differences
from profiler_agent.decoding import encode
from profiler_agent.journal import read_journal
from profiler_agent.records import Hello, measurements_of
from profiler_agent.report import comparison_table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.description = "Compare two journals of `agent measure --out`: B against A, block by block."
    parser.add_argument("first", type=Path, metavar="A", help="journal")
    parser.add_argument("second", type=Path, metavar="B", help="journal")
    parser.add_argument(
        "--margin", type=kinds.percent, default=2.0, metavar="PERCENT", help="counts as the same (%(default)s)"
    )
    parser.add_argument("--seed", type=kinds.natural, default=0, help="of the bootstrap (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and return the exit status."""
    (_, first), (_, second) = read_journal(options.first), read_journal(options.second)
    keys = [next((encode(event.key) for event in events if isinstance(event, Hello)), {}) for events in (first, second)]
    blocks, whole = compare(measurements_of(first), measurements_of(second), options.margin, options.seed)
    differences = key_differences(keys[0], keys[1])
    if options.json:
        document = {"key_differences": differences, "blocks": [encode(one) for one in blocks], "whole": encode(whole)}
        print(json.dumps(document, indent=2))
    else:
        for difference in differences:
            print(f"measured under another key: {difference}")
        print(comparison_table(blocks, whole))
    return 0
