"""`searcher search`: the options of what is maximised and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from searcher.search.scores.batch_training import BF16, RmiSettings
from searcher.search.scores.trained_on_batch import quickest_precision
from searcher.workflows.scoring import Halving

ScoreName = Annotated[
    str,
    typer.Option(
        "--score",
        help="What is maximised: rmi (with --penalty paper and --steps 100 it is HW-EvRSNAS), rmi-loss, synflow, "
        "naswot, parameters, flops, or fused, the mean rank by rmi and by living parameters.",
    ),
]
Cells = Annotated[int, typer.Option("--score-cells", min=1, help="Cells per stage of the networks that are trained.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Training steps of each candidate.")]
Halvings = Annotated[
    list[str] | None,
    typer.Option(
        "--halving",
        metavar="STEPS:SHARE",
        help="Train for so many steps first: the best share goes on; may be repeated.",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=2, help="Images in the one batch.")]
Precision = Annotated[
    str | None,
    typer.Option(
        "--score-precision", help="Train in fp32 or bf16; none takes bf16 where the processor computes in it."
    ),
]
ScoreDevice = Annotated[
    str, typer.Option("--score-device", help="Train on cpu, or on a GPU: cuda or cuda:1, as torch names it.")
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep-scores/--no-keep-scores",
        help="Keep what is measured for later searches, and take what earlier ones kept.",
    ),
]


def rmi_settings(steps: int, batch_size: int, seed: int, precision: str | None, device: str) -> RmiSettings:
    """Return how candidates are trained, in the quickest precision of the device where none is given.

    Raises:
        BadInputError: a value is out of its range.
    """
    quickest = quickest_precision() if device == "cpu" else BF16
    return RmiSettings(steps=steps, batch_size=batch_size, seed=seed, precision=precision or quickest)


def rungs(texts: Sequence[str] | None) -> tuple[Halving, ...]:
    """Read the rungs below the last.

    Raises:
        BadInputError: one of them is none.
    """
    return tuple(Halving.parse(text) for text in texts or ())
