"""`searcher search`: GA+RMI under limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.limits import wanted_limits
from searcher.cost_models.calibration import CALIBRATION_DOCUMENT
from searcher.errors import BadInputError
from searcher.reports import terminal
from searcher.search.candidate import SEARCH_DOCUMENT
from searcher.search.evolution import EvolutionSettings
from searcher.search.preference import DEB
from searcher.search.scores.rmi import RmiSettings
from searcher.spaces.catalogue import space_named
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.lookup_table import TABLE_DOCUMENT
from searcher.workflows.search_space import SearchRequest, search_space

_RMI, _EVOLUTION = RmiSettings(), EvolutionSettings()


def command(
    lut: Annotated[Path | None, typer.Option(help="Lookup table of the device.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration of such a table, instead of it.")] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Keep limits on latency with this probability, such as 0.95; takes a calibration."),
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="The limit; none takes the middle of the predicted range.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUANTITY[:FILE]=NUMBER",
            help="One more limit: latency:FILE (ms, by a table or calibration), energy[:FILE] (mJ, by a table), memory "
            "(MB), flops (million multiply-accumulates) or parameters (millions); may be repeated.",
        ),
    ] = None,
    penalty: Annotated[
        str,
        typer.Option(
            help="How limits are kept: deb trains nothing that breaks one; paper subtracts what is above, each in its "
            "unit; reject draws again until they are kept."
        ),
    ] = DEB,
    out: Annotated[Path, typer.Option(help="The result to write.")] = Path("search.json"),
    space: options.Space = "nasbench201",
    data: Annotated[str, typer.Option(help="digits or cifar10:PATH.")] = "digits",
    reference: Annotated[Path | None, typer.Option(help="Weights of a ResNet-20; none trains one.")] = None,
    cells: options.Cells = None,
    score_cells: Annotated[int, typer.Option(min=1, help="Cells per stage of the networks that are scored.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each candidate.")] = _RMI.steps,
    batch_size: Annotated[int, typer.Option(min=2, help="Images in the one batch.")] = _RMI.batch_size,
    population: Annotated[int, typer.Option(min=2, help="Architectures in a generation.")] = _EVOLUTION.population,
    generations: Annotated[int, typer.Option(min=0, help="Generations after the first.")] = _EVOLUTION.generations,
    seed: options.Seed = 0,
    budget_s: Annotated[float | None, typer.Option(help="Start no generation that would end later.")] = None,
    as_json: options.Json = False,
) -> None:
    """Search and write every candidate, ranked."""
    source = _source(lut, calibration)
    options.require_other_file(out, source)
    options.require_positive("--max-latency-ms", max_latency_ms)
    options.require_positive("--budget-s", budget_s)
    searched = space_named(space, cells)
    if not isinstance(searched, NasBench201):
        raise BadInputError(f"GA+RMI scores networks of nasbench201 alone: it cannot search {space}")
    table = CALIBRATION_DOCUMENT.load(source) if calibration is not None else TABLE_DOCUMENT.load(source)
    limits = wanted_limits(limit or (), lut)
    for priced in limits:
        if priced.source is not None:
            options.require_other_file(out, Path(priced.source))
    SEARCH_DOCUMENT.require_writable(out)
    request = SearchRequest(
        space=searched,
        score_cells=score_cells,
        table=table,
        limit_ms=max_latency_ms,
        data=data,
        reference=reference,
        rmi=RmiSettings(steps=steps, batch_size=batch_size, seed=seed),
        evolution=EvolutionSettings(population=population, generations=generations, seed=seed),
        deadline_s=budget_s,
        confidence=confidence,
        limits=limits,
        constraint=penalty,
        source=str(source),
    )
    result = show.run(search_space(request))
    SEARCH_DOCUMENT.save(result, out)
    if as_json:
        show.document(SEARCH_DOCUMENT.dump(result))
    else:
        show.result(terminal.search_result(result))
        show.result(f"wrote {out}")


def _source(lut: Path | None, calibration: Path | None) -> Path:
    """Return the one file that prices come from."""
    given = [file for file in (lut, calibration) if file is not None]
    if len(given) != 1:
        raise BadInputError("prices come from one file: give --lut TABLE or --calibration FILE")
    return given[0]
