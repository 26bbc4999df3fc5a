"""The FBNet search space: a chain of 22 layers, each one of nine choices, cut into blocks.

Stem Conv3x3-BN-ReLU to 16 channels; seven stages of 1, 4, 4, 4, 4, 4 and 1 layers; head. A layer is an inverted
residual (`mbconv`) of kernel 3 or 5 and expansion 1, 3 or 6, one of expansion 1 whose 1x1 convolutions have two groups,
or a skip. A skip is nothing where the layer keeps the shape of its input; the first layers of the stages 2 to 7 do not,
and a skip there is a Conv1x1-BN-ReLU with the layer's stride. `fbnet_layers` has the sources.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.spaces.architecture import Architecture
from searcher.spaces.block import CALL_OVERHEAD, BlockSpec, Shape
from searcher.spaces.counts import block_macs, block_parameters
from searcher.spaces.fbnet_layers import (
    ACTIVATION,
    CHOICES,
    LARGE,
    LAYERS,
    LEAST_LARGE,
    REPEATS,
    SKIP,
    SMALL,
    STEM_CHANNELS,
    Layer,
    Skeleton,
)
from searcher.spaces.moves import Genotype, crossed, mutated, sampled

_DIGITS = tuple(str(gene) for gene in range(len(CHOICES)))
_LONGEST_QUOTE = 160


@dataclass(frozen=True)
class FBNet:
    """FBNet's chains for images of one size; implements SearchSpace.

    A genotype holds the place of each layer's choice in CHOICES. Its text is that of the public tables of HW-NAS-Bench
    and HELP: the 22 digits joined by `-`.

    Attributes:
        image_size: side of the square RGB images. From 128 pixels on networks are the paper's for ImageNet: they halve
            the image five times, and the head has 1984 channels. For smaller images they are HW-NAS-Bench's for CIFAR:
            stem and second stage have stride 1, which leaves three halvings, and the head has 1504 channels.
        classes: outputs of the network; 100 as in the public tables for CIFAR, ImageNet has 1000.

    Raises:
        BadInputError: a size is not positive, or the image cannot be halved that often.
    """

    image_size: int = 32
    classes: int = 100

    def __post_init__(self) -> None:
        if min(self.image_size, self.classes) < 1:
            raise BadInputError(f"Every size of an FBNet network must be at least 1: {self}.")
        reduction = self._skeleton.reduction
        if self.image_size % reduction:
            raise BadInputError(
                f"The image size {self.image_size} is not divisible by {reduction}, as an FBNet network of it needs."
            )

    @property
    def name(self) -> str:
        """The name that its architectures carry."""
        return "fbnet"

    @property
    def image_shape(self) -> Shape:
        """(1, 3, H, W) of an image."""
        return (1, 3, self.image_size, self.image_size)

    def parse(self, text: str) -> Architecture:
        """Read a chain as public tables write it, such as `7-8-1-8-4-8-8-8-7-4-1-4-7-3-2-7-3-2-4-2-4-5`.

        Raises:
            BadInputError: the text is no such chain; the message quotes it.
        """
        digits = text.split("-")
        if len(digits) != LAYERS or not all(digit in _DIGITS for digit in digits):
            quoted = repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")
            raise BadInputError(
                f"{quoted} is not an FBNet chain: it needs {LAYERS} digits from 0 to {_DIGITS[-1]}, joined by '-'."
            )
        return Architecture(self.name, tuple(int(digit) for digit in digits))

    def format(self, architecture: Architecture) -> str:
        """Write a chain as public tables do."""
        return "-".join(str(gene) for gene in self._genotype(architecture))

    def sample(self, generator: np.random.Generator) -> Architecture:
        """Draw one of the 9^22 chains uniformly."""
        return Architecture(self.name, sampled(LAYERS, len(CHOICES), generator))

    def mutate(self, architecture: Architecture, rate: float, generator: np.random.Generator) -> Architecture:
        """Replace each layer's choice, with probability `rate`, by one of the other eight drawn uniformly.

        Raises:
            BadInputError: `rate` is not between 0 and 1.
        """
        return Architecture(self.name, mutated(self._genotype(architecture), len(CHOICES), rate, generator))

    def crossover(self, first: Architecture, second: Architecture, generator: np.random.Generator) -> Architecture:
        """Take each layer's choice from one parent or the other with equal probability."""
        return Architecture(self.name, crossed(self._genotype(first), self._genotype(second), generator))

    def architectures(self) -> Iterator[Architecture]:
        """Yield the 9^22 chains in lexicographic order; nobody can wait for the last."""
        genotypes = itertools.product(range(len(CHOICES)), repeat=LAYERS)
        return (Architecture(self.name, genotype) for genotype in genotypes)

    def is_connected(self, architecture: Architecture) -> bool:
        """Return True: a chain has one path, and every choice, a skip too, passes its input on."""
        self._genotype(architecture)
        return True

    def score_key(self, architecture: Architecture) -> str:
        """Return the text of the representative; never use it for latency."""
        return self.format(self.representative(architecture))

    def representative(self, architecture: Architecture) -> Architecture:
        """Return the chain whose skips stand last among the repeats of each stage.

        All repeats after a stage's first layer have one shape, and a skip there is nothing: wherever it stands, the
        network is the same. It is the first such chain in lexicographic order.
        """
        genes, skip = self._genotype(architecture), CHOICES.index(SKIP)
        moved: list[int] = []
        for repeats in REPEATS:
            first, *rest = genes[len(moved) : len(moved) + repeats]
            kept = [gene for gene in rest if gene != skip]
            moved += [first, *kept, *[skip] * (len(rest) - len(kept))]
        return Architecture(self.name, tuple(moved))

    def choices(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the names of the choices, from the first layer to the last."""
        return tuple(CHOICES[gene] for gene in self._genotype(architecture))

    def layer_blocks(self, architecture: Architecture) -> tuple[BlockSpec | None, ...]:
        """Return the block of each of the 22 layers; None for a skip that computes nothing."""
        choices = self.choices(architecture)
        return tuple(layer.block(choice) for layer, choice in zip(self.layers, choices, strict=True))

    def blocks(self, architecture: Architecture) -> Mapping[BlockSpec, int]:
        """Return how often a runtime executes each block in one pass."""
        executed = [spec for spec in self.layer_blocks(architecture) if spec is not None]
        return dict(Counter([self.stem, *executed, self.head]))

    def all_blocks(self) -> tuple[BlockSpec, ...]:
        """Return the blocks that a table must hold: 105, the call overhead among them."""
        return self._all_blocks

    def block_counts(self, genotypes: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
        """Return how often each of many architectures executes each block: `blocks` for a whole population.

        Args:
            genotypes: (n, 22), one architecture a row.

        Returns:
            (n, 105): columns in the order of `all_blocks`, that of the call overhead 1 everywhere.

        Raises:
            BadInputError: the array has another shape, holds no integers, or a gene is out of range.
        """
        genes = np.asarray(genotypes)
        if genes.ndim != 2 or genes.shape[1] != LAYERS or genes.dtype.kind not in "iu":
            raise BadInputError(
                f"FBNet genotypes are integers of shape (n, {LAYERS}), not {genes.dtype} of shape {genes.shape}."
            )
        if genes.size and not 0 <= genes.min() <= genes.max() < len(CHOICES):
            raise BadInputError(f"A gene of an FBNet genotype lies between 0 and {len(CHOICES) - 1}.")
        # A row for each block: comparing and adding bytes that lie side by side is what makes this fast.
        counts = np.zeros((len(self._all_blocks), len(genes)), np.int8)
        counts[[self._all_blocks.index(spec) for spec in (CALL_OVERHEAD, self.stem, self.head)]] = 1
        of_layers = np.ascontiguousarray(genes.T, dtype=np.int8)
        for of_layer, rows in zip(of_layers, self._rows, strict=True):
            for gene, row in rows.items():
                counts[row] += (of_layer == gene).view(np.int8)
        return counts.T

    def parameters(self, architecture: Architecture) -> int:
        """Return the network's trainable parameters."""
        return sum(count * block_parameters(spec) for spec, count in self.blocks(architecture).items())

    def macs(self, architecture: Architecture) -> int:
        """Return the multiply-accumulates of one image: convolutions and the fully connected layer."""
        return sum(count * block_macs(spec) for spec, count in self.blocks(architecture).items())

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The 22 layers, from the stem to the head."""
        return self._skeleton.layers(self.image_size)

    @property
    def stem(self) -> BlockSpec:
        """The first block, from the RGB image to 16 channels."""
        image, stride = (self.image_shape,), self._skeleton.stem_stride
        return BlockSpec("conv_bn", image, STEM_CHANNELS, kernel=3, stride=stride, padding=1, activation=ACTIVATION)

    @property
    def head(self) -> BlockSpec:
        """The last block, from the last layer's features to the classes."""
        features, hidden = (self.layers[-1].output_shape,), self._skeleton.head_channels
        return BlockSpec("mobile_head", features, self.classes, activation=ACTIVATION, hidden_channels=hidden)

    @property
    def _skeleton(self) -> Skeleton:
        return LARGE if self.image_size >= LEAST_LARGE else SMALL

    @cached_property
    def _all_blocks(self) -> tuple[BlockSpec, ...]:
        layers = dict.fromkeys(self.layers)  # the repeats of a stage are equal
        specs = (layer.block(choice) for layer in layers for choice in CHOICES)
        return (CALL_OVERHEAD, self.stem, self.head, *(spec for spec in specs if spec is not None))

    @cached_property
    def _rows(self) -> tuple[dict[int, int], ...]:
        """For each layer, the place of each gene's block among all blocks; a skip that computes nothing has none."""
        places = {spec: place for place, spec in enumerate(self._all_blocks)}
        found = [{gene: layer.block(choice) for gene, choice in enumerate(CHOICES)} for layer in self.layers]
        return tuple({gene: places[spec] for gene, spec in blocks.items() if spec is not None} for blocks in found)

    def _genotype(self, architecture: Architecture) -> Genotype:
        genotype = architecture.genotype
        known = architecture.space == self.name and len(genotype) == LAYERS
        if not (known and all(0 <= gene < len(CHOICES) for gene in genotype)):
            raise BadInputError(f"{architecture} is not an architecture of {self.name}.")
        return genotype
