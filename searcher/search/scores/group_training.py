"""Candidates trained together on one batch: the loop of `batch_training` for all of a grouped network at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from searcher.networks.grouped import GroupedNetwork
from searcher.search.scores.batch import TrainingBatch
from searcher.search.scores.batch_training import BF16, RmiSettings, Trajectory, optimizer_of, weighed_loss
from searcher.search.scores.cka import representation_mutual_information

# So many steps before a capture, as torch's documentation has it: libraries set themselves up in the first ones.
_WARM_UP_STEPS = 3


class GroupTraining:
    """Trains a grouped network in place.

    The losses are summed and differentiated once; a candidate's weights are in no other's loss, so that each descends
    its own gradient, and SGD works number by number. A candidate whose loss is no longer finite is out of the sum from
    then on, and what its weights become is of no interest.
    """

    def __init__(self, network: GroupedNetwork, batch: TrainingBatch, settings: RmiSettings) -> None:
        """Take what is trained; network and batch are on one device."""
        self._network = network
        self._batch = batch
        self._settings = settings
        self._device = batch.images.device
        self._optimizer = optimizer_of(network, settings)
        self._alive = torch.ones(network.groups, dtype=torch.bool, device=self._device)

    def train(self, capture: bool = False) -> list[Trajectory]:
        """Train as many steps as the settings say, and return how it went for each candidate.

        Args:
            capture: record one step as a CUDA graph and replay it, which saves the launching of some thousand small
                operations; where that fails, the steps are taken one by one.
        """
        step = (_captured(self) if capture and self._device.type == "cuda" else None) or self.step
        seen = [torch.stack(step()) for _ in range(self._settings.steps)]
        with torch.no_grad():
            seen.append(torch.stack(self.evaluate()))
        # (candidates, rmi and loss, steps + 1): one copy from the device for all.
        return [_trajectory(rmi, loss) for rmi, loss in torch.stack(seen).permute(2, 1, 0).tolist()]

    def evaluate(self) -> tuple[Tensor, Tensor]:
        """Return φ and loss of each candidate, (G,) both."""
        settings, grams = self._settings, self._batch.reference_grams
        # No weight is used twice in a pass, and a cache of casts must not outlive a capture.
        with torch.autocast(self._device.type, torch.bfloat16, settings.precision == BF16, cache_enabled=False):
            features, logits = self._network(self._batch.images)
        representations = [feature.float() for feature in features]
        rmi = torch.func.vmap(representation_mutual_information, in_dims=(None, 0))(grams, representations)
        groups, images, classes = logits.shape
        labels = self._batch.labels.expand(groups, images).reshape(-1)
        every = functional.cross_entropy(logits.float().reshape(-1, classes), labels, reduction="none")
        task = every.reshape(groups, images).mean(dim=1)
        return rmi, weighed_loss(rmi, task, len(grams), settings)

    def step(self) -> tuple[Tensor, Tensor]:
        """Take one step, and return φ and loss of each candidate before it, (G,) both."""
        rmi, loss = self.evaluate()
        self._alive.logical_and_(loss.detach().isfinite())
        self._optimizer.zero_grad()
        torch.autograd.backward(loss.masked_fill(~self._alive, 0.0).sum())
        self._optimizer.step()
        return rmi.detach(), loss.detach()

    def warm_up(self) -> None:
        """Take some steps and undo them."""
        before = [parameter.detach().clone() for parameter in self._network.parameters()]
        for _ in range(_WARM_UP_STEPS):
            self.step()
        self._begin_again(before)

    def _begin_again(self, weights: Sequence[Tensor]) -> None:
        """Set everything in place, since a captured step knows its tensors by their addresses."""
        with torch.no_grad():
            for parameter, weight in zip(self._network.parameters(), weights, strict=True):
                parameter.copy_(weight)
        for state in self._optimizer.state.values():
            # A first step with a velocity of zero is the first step without any.
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"].zero_()
        self._alive.fill_(True)
        self._optimizer.zero_grad()


def _captured(training: GroupTraining) -> Callable[[], tuple[Tensor, Tensor]] | None:
    """Record a step; return a function that replays it, or None where it cannot be recorded.

    As torch's documentation prescribes (CUDA semantics, "whole-network capture"): some steps on a side stream first,
    then no gradients, so that the recorded step makes its own in the graph's memory.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch's own
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        training.warm_up()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            result = training.step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        torch.cuda.synchronize()
        return None

    def replay() -> tuple[Tensor, Tensor]:
        graph.replay()
        return result

    return replay


def _trajectory(rmi: Sequence[float], loss: Sequence[float]) -> Trajectory:
    """Return the values up to the first loss that is not finite."""
    end = next((index for index, one in enumerate(loss) if not math.isfinite(one)), len(loss) - 1) + 1
    return Trajectory(tuple(rmi[:end]), tuple(loss[:end]))
