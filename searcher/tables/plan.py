"""What a table is to be made of: all that must be known beside the events of its job.

A host that was killed, another one, and a folder that was carried to a device and back make the same table of it.
History of the schema: 1, the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from profiler_agent.records import Job, JobBlock, Settings
from searcher.artifacts import ExportedModel
from searcher.documents import Document
from searcher.errors import BadInputError

SCHEMA_VERSION = 1


class OtherRequestError(BadInputError):
    """A job was begun for something else than what is asked for now."""


@dataclass(frozen=True)
class Plan:
    """One job, and what of its table the device does not tell.

    Attributes:
        job_id: names the job on the device and in the history.
        space: name of the search space.
        device: how the user reaches the device, or calls it.
        models: the exported blocks; their names are the blocks' keys.
        settings: how they are measured.
        budget_s: seconds after which no new round starts; None for no bound.
        versions: of the packages that exported the blocks.
        calibration: what the blocks were calibrated on; None for fp32.
    """

    job_id: str
    space: str
    device: str
    models: tuple[ExportedModel, ...]
    settings: Settings
    budget_s: float | None
    versions: Mapping[str, str]
    calibration: str | None
    schema_version: int = SCHEMA_VERSION

    @property
    def batches(self) -> int:
        """The most batches that the job can tell: blocks times rounds."""
        return len(self.models) * self.settings.rounds

    @property
    def job(self) -> Job:
        """The job; its files lie where the plan's models do."""
        blocks = tuple(JobBlock(model.name, model.path.as_posix(), model.sha256) for model in self.models)
        return Job(self.job_id, blocks, self.settings, self.budget_s)


def require_same_request(begun: Plan, wanted: Plan) -> None:
    """Raise OtherRequestError, naming what differs, unless two plans ask for the same; the budget may differ."""
    different = [
        f"its {name} was {getattr(begun, name)!r}, is {getattr(wanted, name)!r}"
        for name in ("space", "device")
        if getattr(begun, name) != getattr(wanted, name)
    ]
    before, now = dataclasses.asdict(begun.settings), dataclasses.asdict(wanted.settings)
    different += [f"{name} was {before[name]!r}, is {now[name]!r}" for name in before if before[name] != now[name]]
    if _files(begun) != _files(wanted):
        different.append("its models have changed")
    if different:
        raise OtherRequestError(f"the job {begun.job_id[:8]} was begun for something else: {'; '.join(different)}")


def _files(plan: Plan) -> dict[str, str]:
    return {model.name: model.sha256 for model in plan.models}


PLAN_DOCUMENT = Document(Plan, "job's plan", SCHEMA_VERSION)
