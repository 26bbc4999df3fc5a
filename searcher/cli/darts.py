"""`searcher darts`: a differentiable search for a family of architectures; the family; its verification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from searcher.artifacts import write_text
from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.cost_models.conformal import CONFIDENCE
from searcher.devices.device import LOCAL
from searcher.errors import BadInputError
from searcher.reports import darts as report
from searcher.reports import terminal
from searcher.search.differentiable.family import FAMILY_DOCUMENT
from searcher.search.differentiable.settings import BF16, DartsSettings
from searcher.search.scores.trained_on_batch import quickest_precision
from searcher.verification.verification import VERIFICATION_DOCUMENT, LimitMissedError
from searcher.workflows.darts_family import DIVISIONS, LIKELIEST, FamilyRequest, darts_family
from searcher.workflows.darts_folder import FAMILY, JOURNAL, RUN, RUN_DOCUMENT, STATE, ControlChoice, read_epochs
from searcher.workflows.darts_run import DartsRequest, darts_run
from searcher.workflows.darts_verify import VerifyDartsRequest, darts_verify

group = typer.Typer(rich_markup_mode=None)

_SETTINGS, _CONTROL = DartsSettings(), ControlChoice()
# What DARTS mirrors are photographs; a digit that is mirrored is none.
_MIRRORED = "cifar10"
_WARM_UP_OF_5 = 3

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a search, its --output.")]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MS[:DEVICE]",
        help="Limits instead of the search's own; DEVICE is a name of the run's prices. May be repeated.",
    ),
]


@group.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    lut: Annotated[
        list[Path] | None,
        typer.Option(
            help="What prices architectures on a device: a lookup table, a calibration, or, of nasbench201, a file of "
            "networks' latencies. Repeated, one file a device."
        ),
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(
            help="A predictor of kernels, for the blocks that the table lacks, or for all without --lut; or, without "
            "--lut, a model of whole networks."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The folder of this search.")] = None,
    max_latency_ms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MS[:FILE]",
            help="A limit; FILE is one of --lut, where there are several. None trades accuracy for latency everywhere.",
        ),
    ] = None,
    space: options.Space = "nasbench201",
    cells: options.Cells = None,
    channels: options.Channels = None,
    data: Annotated[str, typer.Option(help="digits or cifar10:PATH.")] = "digits",
    control: Annotated[
        str,
        typer.Option(
            help="What the family spans: prices (of task, parameters and latency on each device), operations "
            "(preferences for each), or scalar (one price of all)."
        ),
    ] = _CONTROL.name,
    most_complexity: Annotated[
        float, typer.Option(min=0, help="Dearest price of parameters, relative to those of the largest network.")
    ] = _CONTROL.most_complexity,
    most_latency: Annotated[
        float, typer.Option(min=0, help="Dearest price of a latency, relative to that of the slowest network.")
    ] = _CONTROL.most_latency,
    supernet_cells: Annotated[
        int | None,
        typer.Option(min=1, help="Cells of the supernet: per stage of nasbench201 (1 unless given), of darts in all."),
    ] = None,
    supernet_channels: Annotated[
        int | None, typer.Option(min=1, help="Channels of the supernet's first cells; 16 unless given.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=4, help="Side of the images that the supernet sees; of nasbench201 16 unless given."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training half.")] = _SETTINGS.epochs,
    warm_up_epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Of these, the first in which the weights alone are trained; 3 of 5 unless given."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step, of either half.")] = _SETTINGS.batch_size,
    structure_learning_rate: Annotated[
        float, typer.Option(help="Of the structure's Adam.")
    ] = _SETTINGS.structure_learning_rate,
    structure_samples: Annotated[
        int,
        typer.Option(
            min=0, help="Learn the structure from the losses of so many sampled architectures; 0: from a mixture's."
        ),
    ] = _SETTINGS.structure_samples,
    second_order: Annotated[
        bool, typer.Option("--second-order", help="Derive the structure through the weights' next step.")
    ] = False,
    auxiliary_skip: Annotated[
        float, typer.Option(min=0, help="First weight of the auxiliary skip connections; it falls to 0.")
    ] = _SETTINGS.auxiliary_skip,
    skip_limit: Annotated[
        int | None, typer.Option(min=0, help="End when most derived cells have more skip connections than this.")
    ] = None,
    partial_channels: Annotated[
        int, typer.Option(min=1, help="Mix 1/k of the channels, and let the others pass by.")
    ] = 1,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Train in fp32 or bf16; unless given, in bf16 on a GPU and on processors that multiply in it."
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Of the bounds that limits are held against, where prices tell how wrong they may be; "
            f"{CONFIDENCE:g} unless given, or what predicted blocks have."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Train on cpu, or on a GPU: cuda or cuda:1, as torch names it.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch on a CPU; as many as there are processors unless given.")
    ] = None,
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search of --output.")] = False,
    as_json: options.Json = False,
) -> None:
    """Search for a family of architectures, one for every trade of accuracy for latency, in one run."""
    if context.invoked_subcommand is not None:
        if lut or predictor is not None or output is not None:
            raise BadInputError(f"options of the search do not go with searcher darts {context.invoked_subcommand}")
        return
    if output is None or not (lut or predictor):
        raise BadInputError(
            "a search takes --lut FILE, or --predictor FILE, and --output RUN; searcher darts --help tells more"
        )
    request = DartsRequest(
        space=space,
        luts=tuple(lut or ()),
        predictor=predictor,
        output=output,
        limits=tuple((Path(name) if name else None, ms) for name, ms in map(_limit, max_latency_ms or ())),
        data=data,
        cells=cells,
        channels=channels,
        supernet_cells=supernet_cells,
        supernet_channels=supernet_channels,
        image_size=image_size,
        partial_channels=partial_channels,
        control=ControlChoice(control, most_complexity, most_latency),
        settings=DartsSettings(
            epochs=epochs,
            warm_up_epochs=_WARM_UP_OF_5 * epochs // 5 if warm_up_epochs is None else warm_up_epochs,
            batch_size=batch_size,
            structure_learning_rate=structure_learning_rate,
            structure_samples=structure_samples,
            second_order=second_order,
            auxiliary_skip=auxiliary_skip,
            skip_limit=skip_limit,
            precision=precision or (quickest_precision() if device == "cpu" else BF16),
            mirror=data.startswith(_MIRRORED),
            seed=seed,
        ),
        confidence=confidence,
        device=device,
        threads=threads,
        resume=resume,
    )
    found = show.run(darts_run(request))
    if as_json:
        show.document({"run": RUN_DOCUMENT.dump(found.run), "epochs": read_epochs(output)})
    else:
        show.result(report.outcome(found.last, found.seconds))
        show.result(f"wrote {output}; searcher darts family {output} lists what was found")


@group.command("family")
def family(
    run: RunArgument,
    divisions: Annotated[
        int, typer.Option(min=1, help="Of the grid over the control: so many steps along each side.")
    ] = DIVISIONS,
    likeliest: Annotated[
        int, typer.Option(min=1, help="So many architectures of each point, the most probable ones.")
    ] = LIKELIEST,
    max_latency_ms: Limits = None,
    data: Annotated[str | None, typer.Option(help="The data set, if it lies elsewhere now.")] = None,
    device: Annotated[str | None, typer.Option(help="Judge on cpu or cuda; unless given, as was searched.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the members as CSV.")] = None,
    as_json: options.Json = False,
) -> None:
    """List a search's architectures with latencies, sizes and validation scores, and write family.json into RUN."""
    if csv is not None:
        for name in (RUN, JOURNAL, STATE, FAMILY):
            options.require_other_file(csv, run / name, "--csv")
    found = show.run(
        darts_family(FamilyRequest(run, divisions, likeliest, tuple(map(_limit, max_latency_ms or ())), device, data))
    )
    if csv is not None:
        try:
            write_text(csv, report.family_csv(found))
        except OSError as e:
            raise BadInputError(f"cannot write {csv}: {e.strerror or e}") from e
    if as_json:
        show.document(FAMILY_DOCUMENT.dump(found))
    else:
        show.result(report.family_table(found))
        show.result(report.family_conclusion(found))
        show.result(f"wrote {run / FAMILY}")
    if found.picked is None:
        raise LimitMissedError(found.reason or "no member keeps the limits")


@group.command("verify")
@reaches_devices
def verify(
    run: RunArgument,
    device: Annotated[
        list[str] | None,
        typer.Option(help="local, a profile's name, or ssh://user@host:port; several are measured one after another."),
    ] = None,
    prices: Annotated[
        str | None, typer.Option(help="Name of the run's prices that the device has; found by itself unless given.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Measure so many of the family's best; all if left out.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="The limit to judge by; the family's, else the middle of the predicted range.")
    ] = None,
    reached: Reached = AS_USUAL,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    data: options.Data = "digits",
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    budget_s: options.Budget = None,
    as_json: options.Json = False,
) -> None:
    """Measure a family on a device under the conditions of its prices; exit with 1 if no member keeps the limit."""
    options.require_positive("--max-latency-ms", max_latency_ms)
    options.require_positive("--budget-s", budget_s)
    there = [reached.device(name) for name in device or [LOCAL]]
    if len(there) > 1 and (prices is not None or max_latency_ms is not None):
        raise BadInputError("--prices and --max-latency-ms are of one device: give one --device with them")
    measured = (precision, rounds, samples, budget_s, data)
    documents: list[dict[str, Any]] = []
    verified = []
    for one in there:
        verification, out = show.run(darts_verify(VerifyDartsRequest(run, one, prices, top, max_latency_ms, *measured)))
        verified.append(verification)
        documents.append(VERIFICATION_DOCUMENT.dump(verification))
        if not as_json:
            show.result(terminal.verification(verification))
            show.result(f"wrote {out}")
    if as_json:
        show.document(documents[0] if len(documents) == 1 else {"verifications": documents})
    for verification in verified:
        verification.require_winner()


def _limit(text: str) -> tuple[str | None, float]:
    """Read MS or MS:NAME.

    Raises:
        BadInputError: the text is neither.
    """
    number, colon, name = text.partition(":")
    try:
        limit_ms = float(number)
    except ValueError as e:
        raise BadInputError(f"--max-latency-ms takes MS or MS:FILE, such as 12.5:pi.json, not {text!r}") from e
    if colon and not name:
        raise BadInputError(f"--max-latency-ms takes MS or MS:FILE, such as 12.5:pi.json, not {text!r}")
    return name or None, limit_ms
