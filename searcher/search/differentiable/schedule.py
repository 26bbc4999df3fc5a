"""What changes from epoch to epoch: learning rate, temperature and auxiliary skip."""

from __future__ import annotations

import math

from searcher.search.differentiable.settings import DartsSettings


def learning_rate(settings: DartsSettings, epoch: int) -> float:
    """Return the weights' rate in an epoch, counted from 0: half a cosine (Loshchilov and Hutter 2017, Eq. 5)."""
    least = settings.least_learning_rate
    return least + (settings.learning_rate - least) * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))


def temperature(settings: DartsSettings, epoch: int) -> float:
    """Return the temperature in an epoch, counted from 0: in a line from after the warm-up to the last epoch."""
    progress = _progress(epoch - settings.warm_up_epochs, settings.epochs - settings.warm_up_epochs)
    return settings.temperature_from + (settings.temperature_to - settings.temperature_from) * progress


def auxiliary_skip(settings: DartsSettings, epoch: int) -> float:
    """Return β in an epoch, counted from 0: in a line to 0 in the last one (DARTS-, Chu et al. 2021, section 3.3)."""
    return settings.auxiliary_skip * (1 - _progress(epoch, settings.epochs))


def _progress(epoch: int, epochs: int) -> float:
    """Return 0 in the first epoch or before it, 1 in the last."""
    return min(1.0, max(0, epoch) / max(1, epochs - 1))
