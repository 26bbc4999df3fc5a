"""`searcher search`: GA+RMI under limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import require_writable
from searcher.cli import loop, options, prices, scores, show
from searcher.cli.limits import wanted_limits
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.devices.device import LOCAL
from searcher.errors import BadInputError
from searcher.reports import terminal
from searcher.search.accounting import Rates
from searcher.search.candidate import SEARCH_DOCUMENT
from searcher.search.evolution import EvolutionSettings
from searcher.search.preference import DEB
from searcher.search.scores.named_scores import FUSED, score_named
from searcher.spaces.catalogue import space_named
from searcher.spaces.nasbench201 import NasBench201
from searcher.tables.journal import journal_path
from searcher.workflows.closed_loop import (
    ROUNDS,
    closed_loop,
    correctable,
    loop_after,
    require_device,
    require_same_images,
)
from searcher.workflows.scoring import QUICK_STEPS, Scoring
from searcher.workflows.search_space import SearchRequest, search_space

_EVOLUTION, _RATES, _SCORING = EvolutionSettings(), Rates(), Scoring()


@reaches_devices
def command(
    context: typer.Context,
    lut: Annotated[Path | None, typer.Option(help="Lookup table of the device.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration of such a table, instead of it.")] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(
            help="A predictor of kernels, for the blocks that --lut lacks, or for all without it; or a model of whole "
            "networks, instead of any table."
        ),
    ] = None,
    latencies: Annotated[
        Path | None, typer.Option(help="Latencies of whole networks to fit such a model to, instead of any table.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Keep limits on latency with this probability, such as 0.95; takes a calibration, a predictor, or "
            "latencies of networks."
        ),
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
    score: scores.ScoreName = FUSED.name,
    score_cells: scores.Cells = _SCORING.cells_per_stage,
    steps: scores.Steps = QUICK_STEPS,
    halving: scores.Halvings = None,
    batch_size: scores.BatchSize = _SCORING.rmi.batch_size,
    score_precision: scores.Precision = None,
    score_device: scores.ScoreDevice = "cpu",
    keep_scores: scores.Keep = True,
    population: Annotated[int, typer.Option(min=2, help="Architectures in a generation.")] = _EVOLUTION.population,
    generations: Annotated[int, typer.Option(min=0, help="Generations after the first.")] = _EVOLUTION.generations,
    seed: options.Seed = 0,
    budget_s: Annotated[float | None, typer.Option(help="Start no generation that would end later.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished search that is to write the same result.")
    ] = False,
    watts_per_core: Annotated[
        float, typer.Option(help="Power of a busy core, to estimate the search's energy where no counter tells it.")
    ] = _RATES.watts_per_core,
    grid_g_per_kwh: Annotated[float, typer.Option(help="CO2 of a kWh of your electricity.")] = _RATES.grid_g_per_kwh,
    verify_top: loop.VerifyTop = None,
    device: loop.VerifyDevice = None,
    verification: loop.VerifyOut = None,
    verify_rounds: loop.VerifyRounds = ROUNDS,
    verify_budget_s: loop.VerifyBudget = None,
    reached: Reached = AS_USUAL,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    as_json: options.Json = False,
) -> None:
    """Search and write every candidate, ranked; --verify-top exits with 1 if none keeps its limit when measured."""
    sources = prices.Sources(lut, calibration, predictor, latencies)
    for file in sources.files:
        options.require_other_file(out, file)
    options.require_positive("--max-latency-ms", max_latency_ms)
    options.require_positive("--budget-s", budget_s)
    searched = space_named(space, cells)
    if not isinstance(searched, NasBench201):
        raise BadInputError(f"GA+RMI scores networks of nasbench201 alone: it cannot search {space}")
    table = prices.load(sources, searched, data)
    limits = wanted_limits(limit or (), lut)
    for priced in limits:
        if priced.source is not None:
            options.require_other_file(out, Path(priced.source))
    SEARCH_DOCUMENT.require_writable(out)
    require_writable(journal_path(out), "journal")
    measuring = None
    if verify_top is None:
        loop.require_no_measuring(context)
    else:
        there = reached.device(device or LOCAL)
        written = out.with_name("verification.json") if verification is None else verification
        if written.absolute() == out.absolute():
            raise BadInputError(f"--out and --verification are one file, {out}: give them two names")
        for given in (*sources.files, *(Path(one.source) for one in limits if one.source is not None)):
            options.require_other_file(written, given, "--verification")
        measured = (precision, rounds, samples)
        corrected = correctable(table, confidence)
        measuring = loop.loop_settings(corrected, there, written, verify_top, verify_rounds, verify_budget_s, measured)
        require_same_images(searched, corrected, measuring.settings, data)
    request = SearchRequest(
        space=searched,
        scoring=Scoring(
            score=score_named(score),
            cells_per_stage=score_cells,
            rmi=scores.rmi_settings(steps, batch_size, seed, score_precision, score_device),
            halving=scores.rungs(halving),
            keeps=keep_scores,
            device=score_device,
        ),
        table=table,
        limit_ms=max_latency_ms,
        data=data,
        reference=reference,
        evolution=EvolutionSettings(population=population, generations=generations, seed=seed),
        deadline_s=budget_s,
        confidence=confidence,
        limits=limits,
        constraint=penalty,
        source=str(sources.files[0]),
        journal=journal_path(out),
        resume=resume,
        rates=Rates(watts_per_core, grid_g_per_kwh),
    )
    if measuring is not None:
        show.run(require_device(measuring.key, measuring.device))
    result = show.run(search_space(request))
    SEARCH_DOCUMENT.save(result, out)
    if measuring is None and as_json:
        show.document(SEARCH_DOCUMENT.dump(result))
    elif not as_json:
        show.result(terminal.search_result(result))
        remark = prices.remark(table, confidence)
        if remark is not None:
            show.result(remark)
        if result.spent is not None:
            show.result(terminal.spent(result.spent))
        show.result(f"wrote {out} and {journal_path(out)}")
    if measuring is not None:
        verified = show.run(closed_loop(loop_after(request, result, measuring)))
        loop.shown(result, verified, measuring.out, as_json)
        verified.require_winner()
