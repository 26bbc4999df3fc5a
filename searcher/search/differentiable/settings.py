"""How a differentiable search trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from searcher.errors import BadInputError
from searcher.search.differentiable.relaxation import ALL_PATHS

GREATEST_SEED = 2**63 - 1  # of torch's generators
FP32, BF16 = "fp32", "bf16"


@dataclass(frozen=True)
class DartsSettings:
    """How weights and structure are trained.

    The defaults are for two processors and some thousand images, as `benchmarks.darts_cc` uses them. DARTS's own are 50
    epochs without warm-up, batches of 64, a learning rate of 0.025, all paths, no uniform share, and for structures a
    learning rate and a decay of 1e-3 and betas of 0.5 and 0.999; DARTS-CC's temperature falls from 1 to 0.2.

    Attributes:
        epochs: passes over the training half, the warm-up among them.
        warm_up_epochs: passes in which the structure is frozen and weights train on paths that are drawn without
            regard to it.
        batch_size: images a step, of either half.
        learning_rate: of the weights' SGD at the beginning; it falls in half a cosine.
        least_learning_rate: of the weights' SGD at the end.
        momentum: of the weights' SGD.
        weight_decay: of the weights' SGD.
        gradient_norm: the weights' gradient is scaled down to this norm where it is longer.
        structure_learning_rate: of the structure's Adam.
        structure_decay: of the structure's Adam, on logits.
        structure_betas: of the structure's Adam.
        structure_every: weight steps for each structure step.
        temperature_from: of the Gumbel-Softmax in the first epoch after the warm-up.
        temperature_to: of the Gumbel-Softmax in the last epoch; it falls in a line.
        weight_paths: choices a position that a weight step computes; 1 is a one-hot path, 0 all.
        structure_paths: choices a position that a structure step computes; 0 is all.
        structure_samples: one-hot architectures whose losses give the structure's gradient (score function), at least
            2; 0 derives the loss of one relaxed sample, of `structure_paths`, instead.
        price_points: points of control over which a structure step averages what the prices add; that takes no pass
            through the supernet.
        uniform_share: share of the weight steps after the warm-up that still train a path drawn without regard to the
            structure, so that no architecture's weights grow stale.
        trained_odds: on such a path, how many times as often as a choice without parameters one with them is drawn; 1
            is uniform.
        second_order: whether the structure's gradient goes through the weights' next step (DARTS, Eq. 7).
        auxiliary_skip: weight of the auxiliary skip connections in the first epoch; it falls to 0 in a line (DARTS-).
        perturbation: radius of the uniform noise on the mixtures of weight steps (SDARTS-RS); 0 is off. It needs
            `weight_paths` of 0.
        skip_limit: the search ends when more than half of the cells derived on the control's grid have more skip
            connections than this (after DARTS+); None never ends it.
        eigenvalue_window: epochs whose dominant eigenvalues of the structure's Hessian are averaged; 0 is off. The
            search ends when the mean has grown by a third within the window (RobustDARTS).
        grid_divisions: of the grid of control on which guards derive cells.
        pivot_divisions: of the hypernetwork's pivots on a simplex.
        bandwidth: of the hypernetwork, as a share of the squared distance of neighbouring pivots.
        shift_pixels: training images move by up to this many pixels each way; 0 turns it off.
        mirror: whether each training image is mirrored with probability 1/2; not for digits.
        precision: of activations and convolutions, `fp32` or `bf16`; weights, structure and losses are fp32 or more.
        seed: of the structure's first logits and of all draws.

    Raises:
        BadInputError: a value is out of its range.
    """

    epochs: int = 100
    warm_up_epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 0.1
    least_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_norm: float = 5.0
    structure_learning_rate: float = 0.03
    structure_decay: float = 0.0
    structure_betas: tuple[float, float] = (0.9, 0.999)
    structure_every: int = 1
    temperature_from: float = 0.3
    temperature_to: float = 0.1
    weight_paths: int = 1
    structure_paths: int = 2
    structure_samples: int = 0
    price_points: int = 8
    uniform_share: float = 1.0
    trained_odds: float = 3.0
    second_order: bool = False
    auxiliary_skip: float = 0.0
    perturbation: float = 0.0
    skip_limit: int | None = None
    eigenvalue_window: int = 0
    grid_divisions: int = 4
    pivot_divisions: int = 2
    bandwidth: float = 0.3
    shift_pixels: int = 1
    mirror: bool = False
    precision: str = FP32
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_whole_numbers()
        self._require_numbers()
        if self.warm_up_epochs >= self.epochs:
            raise BadInputError(
                f"{self.warm_up_epochs} epochs of warm-up leave none of {self.epochs} for the structure"
            )
        if self.least_learning_rate > self.learning_rate:
            raise BadInputError("the least learning rate lies above the first one")
        if not all(0 <= beta < 1 for beta in self.structure_betas):
            raise BadInputError(f"betas of Adam lie between 0 and 1, not at {self.structure_betas}")
        if self.perturbation and self.weight_paths != ALL_PATHS:
            raise BadInputError("a perturbation is of mixtures of all choices: weight_paths must be 0 with it")
        if self.structure_samples == 1:
            raise BadInputError("the loss of one sample has nothing to be held against: structure_samples is 0 or 2")
        if self.structure_samples and self.second_order:
            raise BadInputError("the second order needs a relaxed sample: structure_samples must be 0 with it")
        if self.precision not in (FP32, BF16):
            raise BadInputError(f"supernets are trained in {FP32} or {BF16}, not in {self.precision!r}")
        if self.seed > GREATEST_SEED:
            raise BadInputError(f"a seed lies between 0 and {GREATEST_SEED}, not at {self.seed}")

    def _require_whole_numbers(self) -> None:
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("warm_up_epochs", self.warm_up_epochs, 0),
            ("batch_size", self.batch_size, 2),  # batch norm needs two
            ("structure_every", self.structure_every, 1),
            ("weight_paths", self.weight_paths, 0),
            ("structure_paths", self.structure_paths, 0),
            ("structure_samples", self.structure_samples, 0),
            ("price_points", self.price_points, 1),
            ("skip_limit", self.skip_limit or 0, 0),
            ("eigenvalue_window", self.eigenvalue_window, 0),
            ("grid_divisions", self.grid_divisions, 1),
            ("pivot_divisions", self.pivot_divisions, 1),
            ("shift_pixels", self.shift_pixels, 0),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise BadInputError(f"{name} must be at least {least}, not {value}")

    def _require_numbers(self) -> None:
        for name, value in (
            ("learning_rate", self.learning_rate),
            ("gradient_norm", self.gradient_norm),
            ("structure_learning_rate", self.structure_learning_rate),
            ("temperature_from", self.temperature_from),
            ("temperature_to", self.temperature_to),
            ("bandwidth", self.bandwidth),
            ("trained_odds", self.trained_odds),
        ):
            if not 0 < value < math.inf:
                raise BadInputError(f"{name} must be a positive number, not {value:g}")
        for name, value in (
            ("least_learning_rate", self.least_learning_rate),
            ("weight_decay", self.weight_decay),
            ("structure_decay", self.structure_decay),
            ("auxiliary_skip", self.auxiliary_skip),
            ("perturbation", self.perturbation),
        ):
            if not 0 <= value < math.inf:
                raise BadInputError(f"{name} must not be negative, but is {value:g}")
        if not 0 <= self.momentum < 1:
            raise BadInputError(f"momentum lies from 0 to below 1, not at {self.momentum:g}")
        if not 0 <= self.uniform_share <= 1:
            raise BadInputError(f"uniform_share lies between 0 and 1, not at {self.uniform_share:g}")
