"""One position of a supernet: all its choices, of which those with a weight are computed and summed by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.networks.mobile import ChannelShuffle


@dataclass(frozen=True, eq=False)
class Mixture:
    """What one position mixes.

    Attributes:
        entries: the choices whose weight is not exactly 0, each with its weight, a tensor of no dimension; None where
            the weight is exactly 1 and nobody wants its gradient, so that nothing need be multiplied.
    """

    entries: tuple[tuple[int, Tensor | None], ...]


def mixtures_of(weights: Tensor) -> tuple[Mixture, ...]:
    """Return what each position mixes; made once a forward pass and shared by all cells.

    Args:
        weights: (P, K), a row for each position. An entry that is exactly 0 is not computed, and its gradient is 0.
    """
    wanted = torch.is_grad_enabled() and weights.requires_grad
    return tuple(
        Mixture(
            tuple(
                (choice, None if value == 1 and not wanted else entry)
                for choice, (value, entry) in enumerate(zip(values, row.unbind(), strict=True))
                if value != 0
            )
        )
        for values, row in zip(weights.detach().tolist(), weights.unbind(), strict=True)
    )


class Zero(nn.Module):
    """The choice `none`: a mixed edge never computes it, and it adds nothing to what it computes."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return zeros of the input's shape."""
        return torch.zeros_like(inputs)


class MixedEdge(nn.Module):
    """The choices of one position, summed by their weights (Liu et al., *DARTS*, ICLR 2019, Eq. 2).

    With `partial_channels` k above 1, only the first 1/k of the channels goes through the choices, the others pass by
    them, and the channels are shuffled afterwards so that every one has its turn (Xu et al., *PC-DARTS*, ICLR 2020).
    The edge then passes something on whatever its weights are.

    An auxiliary skip connection beside the choices takes from the skip among them the advantage of letting gradients
    through, which is what search collapses for (Chu et al., *DARTS-*, ICLR 2021, Eq. 4).
    """

    def __init__(
        self,
        candidates: Sequence[nn.Module],
        partial_channels: int = 1,
        bypass: nn.Module | None = None,
        auxiliary: nn.Module | None = None,
    ) -> None:
        """Take the choices, which map (N, C / partial_channels, H, W) to one shape.

        Args:
            candidates: one module for each choice, in the order of the space's genotype; `Zero` for `none`.
            partial_channels: k; 1 sends all channels through the choices.
            bypass: what the other channels go through, where the choices change the resolution.
            auxiliary: the auxiliary skip connection, of the choices' shapes; None where there is none to be had.

        Raises:
            BadInputError: `partial_channels` is below 1.
        """
        super().__init__()
        if partial_channels < 1:
            raise BadInputError(f"1/{partial_channels} of the channels cannot be mixed: give at least 1.")
        self.candidates = nn.ModuleList(candidates)
        self.partial_channels = partial_channels
        self.bypass = bypass
        self.auxiliary = auxiliary
        self.shuffle = ChannelShuffle(partial_channels)
        self._computing = tuple(not isinstance(candidate, Zero) for candidate in candidates)

    def passes(self, mixture: Mixture, auxiliary_skip: float) -> bool:
        """Tell whether the edge passes anything on, so that its output is not a plain zero."""
        mixed = any(self._computing[choice] for choice, _ in mixture.entries)
        return mixed or self.partial_channels > 1 or (auxiliary_skip != 0 and self.auxiliary is not None)

    def forward(self, inputs: Tensor, mixture: Mixture, auxiliary_skip: float = 0.0) -> Tensor | None:
        """Return the weighted sum of the choices, (N, C', H', W'); None where nothing is passed on.

        Args:
            inputs: (N, C, H, W).
            mixture: weights of the choices.
            auxiliary_skip: β, the weight of the auxiliary skip connection.
        """
        if self.partial_channels == 1:
            return self._mixed(inputs, mixture, auxiliary_skip)
        channels = inputs.shape[1] // self.partial_channels
        others = inputs[:, channels:]
        if self.bypass is not None:
            others = self.bypass(others)
        mixed = self._mixed(inputs[:, :channels], mixture, auxiliary_skip)
        if mixed is None:
            joined = functional.pad(others, (0, 0, 0, 0, channels, 0))
        else:
            joined = torch.cat((mixed, others.to(mixed.dtype)), dim=1)
        shuffled: Tensor = self.shuffle(joined)
        return shuffled

    def _mixed(self, inputs: Tensor, mixture: Mixture, auxiliary_skip: float) -> Tensor | None:
        terms: list[Tensor] = []
        for choice, weight in mixture.entries:
            if self._computing[choice]:
                output: Tensor = self.candidates[choice](inputs)
                terms.append(output if weight is None else weight * output)
        if auxiliary_skip != 0 and self.auxiliary is not None:
            terms.append(auxiliary_skip * self.auxiliary(inputs))
        return total(terms)


def total(terms: Iterable[Tensor | None]) -> Tensor | None:
    """Return the sum of tensors of one shape, in their order; None where there is none of them."""
    present = [term for term in terms if term is not None]
    if not present:
        return None
    result = present[0]
    for term in present[1:]:
        result = result + term
    return result
