"""`searcher export`: blocks or one whole network as files of a runtime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from searcher.artifacts import ExportedModel, cache_folder, replacing
from searcher.cli import show
from searcher.cli.options import Cells, Channels, Classes, Data, Dtype, ImageSize, Json, Runtime, Space
from searcher.errors import BadInputError
from searcher.spaces.catalogue import space_named
from searcher.workflows.prepare_exporter import prepare_exporter
from searcher.workflows.profile_space import export_blocks


def command(
    out: Annotated[Path, typer.Option(help="A file for a network; a folder for the blocks of the space.")],
    architecture: Annotated[str | None, typer.Argument(help="An architecture's text; none for all blocks.")] = None,
    space: Space = "nasbench201",
    cells: Cells = None,
    channels: Channels = None,
    classes: Classes = None,
    image_size: ImageSize = None,
    runtime: Runtime = "onnx",
    dtype: Dtype = "fp32",
    data: Data = "digits",
    as_json: Json = False,
) -> None:
    """Write files with random weights: ONNX, or TFLite for a runtime of that family."""
    searched = space_named(space, cells, classes, image_size, channels)
    exporter = prepare_exporter(searched, runtime, dtype, data)
    if architecture is None:
        models = show.run(export_blocks(searched, exporter))
        targets = [out / f"{model.name}{model.path.suffix}" for model in models]
    else:
        models = [exporter.export_network(searched, searched.parse(architecture), cache_folder() / "exports")]
        targets = [out]
    for model, target in zip(models, targets, strict=True):
        _copy(model, target)
    if as_json:
        written = [_described(model, target) for model, target in zip(models, targets, strict=True)]
        show.document({"space": space, "models": written})
    else:
        show.result(f"wrote {len(models)} file(s) to {out}")


def _described(model: ExportedModel, target: Path) -> dict[str, str | float | None]:
    return {
        "name": model.name,
        "file": str(target),
        "sha256": model.sha256,
        "numerical_error": model.numerical_error,
    }


def _copy(model: ExportedModel, target: Path) -> None:
    try:
        with replacing(target) as temporary:
            shutil.copyfile(model.path, temporary)
    except OSError as e:
        raise BadInputError(f"cannot write {target}: {e.strerror or e}") from e
