"""What a structure costs, with a gradient: its expected latency on each device and its expected parameters.

    Latency(p) = (base + Σ over positions and choices of p · price) ÷ the reference's latency

of the edge-additive models of tables (`searcher.cost_models.edge_additive`), and the same of parameters. A ratio has no
unit, so that one price serves all devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from searcher.cost_models.edge_additive import EdgeAdditive
from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD
from searcher.spaces.counts import block_parameters
from searcher.spaces.space import SearchSpace

# How many sums numpy adds up side by side in a row of 8 to 128 numbers.
_LANES = 8


class StructureCosts:
    """Expected costs of structures, in float64 on the CPU.

    Attributes:
        devices: names of the devices.
        reference_ms: (devices,) latencies that ratios are relative to.
        reference_parameters: parameters that the complexity is relative to.
        targets: (devices,) limits in ms; infinite where there is none.
    """

    def __init__(
        self,
        space: SearchSpace,
        models: Mapping[str, EdgeAdditive],
        reference: Architecture | None = None,
        targets_ms: Mapping[str, float] | None = None,
    ) -> None:
        """Set the prices.

        Args:
            space: whose parameters are counted.
            models: by the name of the device, at least one.
            reference: architecture that ratios are relative to; None for the dearest choice at each position.
            targets_ms: a limit on the edge-additive latency, for some devices or all.

        Raises:
            BadInputError: there is no model, one is of another space, a target is of no device or not positive, or the
                reference costs nothing.
        """
        if not models:
            raise BadInputError("a search for latency needs the prices of at least one device")
        for name, model in models.items():
            if model.space != space.name:
                raise BadInputError(f"the prices of {name} are of the space {model.space}, not of {space.name}")
        self.devices = tuple(models)
        self._base_ms = _tensor([model.base_ms for model in models.values()])
        self._prices_ms = _tensor([model.prices_ms for model in models.values()])
        base, added = additive_parameters(space)
        self._base_parameters, self._parameters = _tensor(base), _tensor(added)
        if reference is None:
            self.reference_ms = self._base_ms + self._prices_ms.amax(dim=2).sum(dim=1)
            self.reference_parameters = self._base_parameters + self._parameters.amax(dim=1).sum()
        else:
            self.reference_ms = _tensor([model.latency_ms(reference) for model in models.values()])
            self.reference_parameters = _tensor(space.parameters(reference))
        if not (bool((self.reference_ms > 0).all()) and self.reference_parameters > 0):
            raise BadInputError(
                "the reference of the latency costs nothing by these prices: a ratio to it has no meaning"
            )
        self.targets = _targets(self.devices, targets_ms or {})

    def latency_ms(self, probabilities: Tensor) -> Tensor:
        """Return the expected latency on each device, (…, devices) in ms.

        On the one-hot structure of a genotype it is `EdgeAdditive.latency_ms`, bit for bit.

        Args:
            probabilities: (…, positions, choices) of any type and device.
        """
        of_positions = (_exact(probabilities).unsqueeze(-3) * self._prices_ms).sum(dim=-1)
        return self._base_ms + _summed_as_numpy(of_positions)

    def parameters(self, probabilities: Tensor) -> Tensor:
        """Return the expected number of parameters of (…, positions, choices) probabilities, (…)."""
        return self._base_parameters + (_exact(probabilities) * self._parameters).sum(dim=(-2, -1))

    def latency_ratio(self, probabilities: Tensor) -> Tensor:
        """Return the expected latency over the reference's, (…, devices)."""
        return self.latency_ms(probabilities) / self.reference_ms

    def complexity_ratio(self, probabilities: Tensor) -> Tensor:
        """Return the expected number of parameters over the reference's, (…)."""
        return self.parameters(probabilities) / self.reference_parameters

    def latency_terms(self, probabilities: Tensor) -> Tensor:
        """Return what latency adds to the objective at a price of 1, (…, devices).

        It is the ratio to the reference, or, where a device has a target, the hinge max(0, latency ÷ target - 1): what
        keeps the target pays nothing.
        """
        latency_ms = self.latency_ms(probabilities)
        hinge = (latency_ms / self.targets - 1).clamp_min(0)
        return torch.where(self.targets.isfinite(), hinge, latency_ms / self.reference_ms)


def additive_parameters(space: SearchSpace) -> tuple[float, NDArray[np.float64]]:
    """Return the parameters that every architecture has, and what each choice adds, (positions, choices)."""
    counts = space.additive_counts()
    blocks = [0 if block == CALL_OVERHEAD else block_parameters(block) for block in space.all_blocks()]
    of_blocks = np.array(blocks, np.float64)
    return float(counts.base @ of_blocks), np.asarray(counts.choices @ of_blocks, np.float64)


def _targets(devices: Sequence[str], targets_ms: Mapping[str, float]) -> Tensor:
    for name, target in targets_ms.items():
        if name not in devices:
            raise BadInputError(f"there is a target for {name}, but no prices: there are those of {', '.join(devices)}")
        if not 0 < target < np.inf:
            raise BadInputError(f"a target in ms is a positive number, not {target:g}")
    return _tensor([targets_ms.get(name, np.inf) for name in devices])


def _tensor(values: object) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64))


def _exact(probabilities: Tensor) -> Tensor:
    return probabilities.to("cpu", torch.float64)


def _summed_as_numpy(rows: Tensor) -> Tensor:
    """Return the sums of rows (…, positions), added up in the order in which numpy adds up to 128 numbers."""
    whole = rows.shape[-1] // _LANES * _LANES
    total = torch.zeros(rows.shape[:-1], dtype=rows.dtype)
    if whole:
        lanes = rows[..., :_LANES]
        for first in range(_LANES, whole, _LANES):
            lanes = lanes + rows[..., first : first + _LANES]
        pairs = lanes[..., 0::2] + lanes[..., 1::2]
        fours = pairs[..., 0::2] + pairs[..., 1::2]
        total = fours[..., 0] + fours[..., 1]
    for position in range(whole, rows.shape[-1]):
        total = total + rows[..., position]
    return total
