"""`searcher demo`: the whole road on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.reports import terminal
from searcher.verification.verification import VERIFICATION_DOCUMENT
from searcher.workflows.demo import DemoRequest, run_demo


def command(
    budget_s: Annotated[float, typer.Option(min=30, help="Seconds for everything.")] = 240.0,
    out: Annotated[Path, typer.Option(help="Folder for table.json, search.json and verification.json.")] = Path(
        "runs/demo"
    ),
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Profile, search and verify; exit with 1 if no candidate keeps the limit when measured."""
    options.require_positive("--budget-s", budget_s)
    result = show.run(run_demo(DemoRequest(out, budget_s, seed)))
    verified = result.verification
    if as_json:
        show.document({"spent_s": result.spent_s, "verification": VERIFICATION_DOCUMENT.dump(verified)})
    else:
        show.result(terminal.search_result(result.search))
        show.result(terminal.verification(verified))
        show.result(terminal.conclusion(verified))
        spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.spent_s.items())
        show.result(f"spent: {spent}; wrote {out}/table.json, search.json and verification.json")
    verified.require_winner()
