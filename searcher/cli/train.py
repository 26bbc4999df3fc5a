"""`searcher train`: one architecture trained properly, exported, checked, and measured where that is wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from searcher.cli import options, show
from searcher.cli.reached import AS_USUAL, Reached, reaches_devices
from searcher.cost_models.block_sum import BlockSum
from searcher.devices.device import Device
from searcher.errors import BadInputError
from searcher.export.exporter import exporter_for, format_of
from searcher.reports.training import trained_network
from searcher.search.accounting import Rates
from searcher.spaces.architecture import Architecture
from searcher.spaces.catalogue import space_named
from searcher.spaces.space import SearchSpace
from searcher.tables.lookup_table import TABLE_DOCUMENT, LookupTable, MissingBlockError
from searcher.training.augmentation import Augmentation
from searcher.training.datasets import load_dataset
from searcher.training.recipe import CPU, FP32, Recipe, usual_recipe
from searcher.verification.trained_network import TRAINING_DOCUMENT
from searcher.workflows.measure_networks import settings_of_key
from searcher.workflows.train_architecture import DOCUMENT, TrainedMeasuring, TrainRequest, train_architecture

_RATES = Rates()
_FORMATS = ("onnx", "tflite")


@reaches_devices
def command(
    architecture: Annotated[str, typer.Argument(help="An architecture's text.")],
    output: Annotated[Path, typer.Option(help="Folder for journal, weights, exported file and training.json.")],
    space: options.Space = "nasbench201",
    cells: options.Cells = None,
    data: Annotated[str, typer.Option(help="digits or cifar10:PATH.")] = "digits",
    epochs: Annotated[int | None, typer.Option(help="Unless given: 20 of digits, 200 of cifar10.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Unless given: 64 of digits, 256 of cifar10.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak; 0.1 unless given.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="0.0005 unless given.")] = None,
    warm_up: Annotated[
        float | None, typer.Option(help="Share of the steps in which the learning rate rises; 0 unless given.")
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 unless given.")] = None,
    clip: Annotated[float | None, typer.Option(help="Greatest norm of the gradients; none unless given.")] = None,
    shift: Annotated[
        int | None, typer.Option(help="Pixels that images move by at most; unless given 2 of digits, 4 of cifar10.")
    ] = None,
    mirror: Annotated[bool | None, typer.Option(help="Mirror half of the images; of cifar10 unless given.")] = None,
    cutout: Annotated[int | None, typer.Option(help="Side in pixels of a square to cut out; 0 unless given.")] = None,
    validation_share: Annotated[
        float, typer.Option(help="Share of the training images to hold back, and to look at after each epoch.")
    ] = 0.0,
    train_precision: Annotated[str, typer.Option(help="fp32 or bf16, of activations and convolutions.")] = FP32,
    train_device: Annotated[str, typer.Option(help="Where to train: cpu or cuda (never tried on one).")] = CPU,
    file_format: Annotated[
        str | None, typer.Option("--format", help="onnx or tflite; unless given the table's, else onnx.")
    ] = None,
    seed: options.Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that is in the folder.")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="Measure the exported network there: local, a profile's name, or ssh://user@host:port."),
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="End with 1 if the network takes longer on the device.")
    ] = None,
    lut: Annotated[
        Path | None, typer.Option(help="Table of the device: measure as it was measured, and compare with it.")
    ] = None,
    reached: Reached = AS_USUAL,
    precision: options.Precision = options.DEFAULTS.target_half_width_pct,
    rounds: options.Rounds = options.DEFAULTS.rounds,
    samples: options.Samples = options.DEFAULTS.samples,
    watts_per_core: Annotated[
        float, typer.Option(help="Power of a busy core, to estimate the energy where no counter tells it.")
    ] = _RATES.watts_per_core,
    grid_g_per_kwh: Annotated[float, typer.Option(help="CO2 of a kWh of your electricity.")] = _RATES.grid_g_per_kwh,
    as_json: options.Json = False,
) -> None:
    """Train, export and check; exit with 1 if the network does not keep --max-latency-ms when measured."""
    options.require_positive("--max-latency-ms", max_latency_ms)
    _require_device(device, max_latency_ms, lut)
    table = None if lut is None else TABLE_DOCUMENT.load(lut)
    exported = _format(file_format, table)
    # Before the data, which may take long to read.
    space_named(space, cells).parse(architecture)
    there = reached.device(device or "local")
    exporter_for(exported)
    dataset = load_dataset(data)
    trained = space_named(space, cells, dataset.classes, dataset.train_images.shape[-1])
    parsed = trained.parse(architecture)
    recipe = _recipe(
        usual_recipe(dataset.name),
        (shift, mirror, cutout),
        epochs=epochs,
        batch_size=batch_size,
        peak_learning_rate=learning_rate,
        weight_decay=weight_decay,
        warm_up_share=warm_up,
        label_smoothing=label_smoothing,
        clip_norm=clip,
        precision=train_precision,
    )
    request = TrainRequest(
        space=trained,
        architecture=parsed,
        dataset=dataset,
        recipe=recipe,
        output=output,
        seed=seed,
        validation_share=validation_share,
        runtime_format=exported,
        train_device=train_device,
        resume=resume,
        measuring=None
        if device is None
        else _measuring(there, exported, table, (trained, parsed), max_latency_ms, (precision, rounds, samples)),
        rates=Rates(watts_per_core, grid_g_per_kwh),
    )
    result = show.run(train_architecture(request))
    if as_json:
        show.document(TRAINING_DOCUMENT.dump(result))
    else:
        show.result(trained_network(result))
        show.result(f"wrote {output / DOCUMENT}, {output / result.weights.file} and {output / result.exported.file}")
    result.require_limit()


def _require_device(device: str | None, max_latency_ms: float | None, lut: Path | None) -> None:
    """Refuse what is of a measurement where nothing is measured."""
    for name, given in (("--max-latency-ms", max_latency_ms), ("--lut", lut)):
        if device is None and given is not None:
            raise BadInputError(f"{name} is of the network as it is measured: name the device with --device")


def _format(named: str | None, table: LookupTable | None) -> str:
    """Return the format of the exported file: the user's, which must be the table's, else the table's, else ONNX."""
    if named is not None and named not in _FORMATS:
        raise BadInputError(f"--format takes {' or '.join(_FORMATS)}, not {named!r}")
    if table is None:
        return named or _FORMATS[0]
    if table.key.precision != FP32:
        raise BadInputError(f"the table is of {table.key.precision}: trained networks are exported in {FP32} alone")
    of_table = format_of(table.key.runtime)
    if named not in (None, of_table):
        raise BadInputError(f"the table is of {table.key.runtime}, which reads {of_table}, not {named}")
    return of_table


def _recipe(usual: Recipe, varied: tuple[int | None, bool | None, int | None], **given: float | str | None) -> Recipe:
    """Return the usual recipe with what the user gives instead."""
    shift, mirror, cutout = varied
    usually = usual.augmentation
    augmentation = Augmentation(
        shift_pixels=usually.shift_pixels if shift is None else shift,
        mirror=usually.mirror if mirror is None else mirror,
        cutout_pixels=usually.cutout_pixels if cutout is None else cutout,
    )
    changed = {name: value for name, value in given.items() if value is not None}
    return replace(usual, augmentation=augmentation, **changed)  # type: ignore[arg-type] # each value is of its field


def _measuring(
    device: Device,
    exported: str,
    table: LookupTable | None,
    trained: tuple[SearchSpace, Architecture],
    limit_ms: float | None,
    measured: tuple[float, int, int],
) -> TrainedMeasuring:
    """Return how the network is measured: as the table was, else as the device's profile says."""
    if table is not None:
        settings = settings_of_key(table.key, table.sentinel_ms, *measured)
        return TrainedMeasuring(device, settings, limit_ms, table.key, _predicted_ms(*trained, table))
    threads = device.profile.measure.threads
    settings = options.settings(exported, FP32, threads, None, options.DEFAULTS.optimization, False, *measured)
    return TrainedMeasuring(device, settings, limit_ms)


def _predicted_ms(space: SearchSpace, architecture: Architecture, table: LookupTable) -> float | None:
    """Return what the table says of the network; None where it lacks blocks, as of another number of classes."""
    try:
        return BlockSum(space, table).latency_ms(architecture)
    except MissingBlockError:
        return None
