"""One position of a supernet: all its choices, of which those with a weight are computed and summed by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from searcher.errors import BadInputError
from searcher.networks.quick import PoolByConvolution

# Of layers without weights with which choices begin, all that decides what they compute.
_DECIDING: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.ReLU, ()),
    (PoolByConvolution, ()),
    (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    (nn.AvgPool2d, ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")),
)


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

    On a GPU this waits for the weights, once.

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


class Source:
    """A value that edges begin with, and what several of their choices make of it alike: computed once, kept once.

    All choices with a convolution begin with the same ReLU, and all poolings of one node are one, whatever the edge.
    """

    def __init__(self, value: Tensor) -> None:
        """Begin with a node's value, (N, C, H, W)."""
        self.value = value
        self._made: dict[tuple[object, ...], Tensor] = {}
        self._parts: dict[int, Source] = {}

    def through(self, layer: nn.Module) -> Tensor:
        """Return what a layer makes of the value; of layers that compute the same, only the first is asked."""
        kind = _kind(layer)
        if kind is None:
            result: Tensor = layer(self.value)
            return result
        if kind not in self._made:
            self._made[kind] = layer(self.value)
        return self._made[kind]

    def first(self, channels: int) -> Source:
        """Return the first so many channels as a source of their own, always the same one."""
        if channels not in self._parts:
            self._parts[channels] = Source(self.value[:, :channels])
        return self._parts[channels]


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
            candidates: one module for each choice, in the order of the space's genotype; `Zero` for `none`. Those
                with layers of their own are best an `nn.Sequential`, so that a ReLU in front is shared with other
                edges and a batch norm at the end is the weight's.
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
        self._computing = tuple(not isinstance(candidate, Zero) for candidate in candidates)

    def passes(self, mixture: Mixture, auxiliary_skip: float) -> bool:
        """Tell whether the edge passes anything on, so that its output is not a plain zero."""
        mixed = any(self._computing[choice] for choice, _ in mixture.entries)
        return mixed or self.partial_channels > 1 or (auxiliary_skip != 0 and self.auxiliary is not None)

    def forward(self, inputs: Tensor | Source, mixture: Mixture, auxiliary_skip: float = 0.0) -> Tensor | None:
        """Return the weighted sum of the choices, (N, C', H', W'); None where nothing is passed on.

        Args:
            inputs: (N, C, H, W); a source where other edges begin with the same value.
            mixture: weights of the choices.
            auxiliary_skip: β, the weight of the auxiliary skip connection.
        """
        source = inputs if isinstance(inputs, Source) else Source(inputs)
        if self.partial_channels == 1:
            return self._mixed(source, mixture, auxiliary_skip)
        channels = source.value.shape[1] // self.partial_channels
        others = source.value[:, channels:]
        if self.bypass is not None:
            others = self.bypass(others)
        mixed = self._mixed(source.first(channels), mixture, auxiliary_skip)
        if mixed is None:
            joined = functional.pad(others, (0, 0, 0, 0, channels, 0))
        else:
            joined = torch.cat((mixed, others), dim=1)
        return _shuffled(joined, self.partial_channels)

    def _mixed(self, source: Source, mixture: Mixture, auxiliary_skip: float) -> Tensor | None:
        terms: list[Tensor] = [
            _weighted(self.candidates[choice], source, weight)
            for choice, weight in mixture.entries
            if self._computing[choice]
        ]
        if auxiliary_skip != 0 and self.auxiliary is not None:
            terms.append(auxiliary_skip * source.through(self.auxiliary))
        return total(terms)


def total(terms: Iterable[Tensor | None]) -> Tensor | None:
    """Return the sum of tensors of one shape, in their order; None where there is none of them."""
    present = [term for term in terms if term is not None]
    if len(present) < 2:
        return present[0] if present else None
    result = present[0] + present[1]
    for term in present[2:]:
        # No one else has seen this sum, and no gradient needs it: adding in place spares a tensor.
        result = result.add_(term) if result.dtype == term.dtype else result + term
    return result


def _shuffled(inputs: Tensor, groups: int) -> Tensor:
    """Return (N, C, H, W) in channels-last memory, channel i of group g as channel i·groups + g."""
    count, channels, height, width = inputs.shape
    # Dealt out along the last dimension: the same along the second would leave the layout that is quick.
    parted = inputs.permute(0, 2, 3, 1).reshape(count, height, width, groups, channels // groups)
    return parted.transpose(3, 4).reshape(count, height, width, channels).permute(0, 3, 1, 2)


def _kind(layer: nn.Module) -> tuple[object, ...] | None:
    """Return what is equal for layers that compute the same of one value; None where a layer has weights or may."""
    for layer_type, names in _DECIDING:
        if type(layer) is layer_type:
            return (layer_type, *(getattr(layer, name) for name in names))
    return None


def _weighted(candidate: nn.Module, source: Source, weight: Tensor | None) -> Tensor:
    layers: list[nn.Module] = [candidate]
    # A subclass may do something else than one layer after the other.
    if isinstance(candidate, nn.Sequential) and type(candidate).forward is nn.Sequential.forward:
        layers = list(candidate)
    norm = layers.pop() if len(layers) > 1 and isinstance(layers[-1], nn.BatchNorm2d) else None
    value = source.through(layers[0])
    for layer in layers[1:]:
        value = layer(value)
    if isinstance(norm, nn.BatchNorm2d):
        return norm(value) if weight is None else _scaled_norm(norm, value, weight)
    return value if weight is None else weight * value


def _scaled_norm(norm: nn.BatchNorm2d, inputs: Tensor, weight: Tensor) -> Tensor:
    """Return the norm's output times a weight, as a norm of that scale.

    A product after the norm would read and write the whole tensor once more, and keep it for the weight's gradient.
    """
    momentum = norm.momentum or 0.0
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:  # as in torch: the mean over all batches
            momentum = 1 / int(norm.num_batches_tracked)
    mean, variance = norm.running_mean, norm.running_var
    scale = weight.to(inputs.dtype if mean is None else mean.dtype)
    # Laid out in memory: torch's kernels on a CPU read past a scale that is merely expanded.
    gain = scale.repeat(norm.num_features) if norm.weight is None else scale * norm.weight
    shift = None if norm.bias is None else scale * norm.bias
    return functional.batch_norm(inputs, mean, variance, gain, shift, norm.training or mean is None, momentum, norm.eps)
