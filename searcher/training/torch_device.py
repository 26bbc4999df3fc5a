"""Where torch computes, by the name that a user gives."""

from __future__ import annotations

import torch

from searcher.errors import BadInputError

CPU, CUDA = "cpu", "cuda"


def torch_device(name: str, trained: str) -> torch.device:
    """Return the device that torch trains on.

    Args:
        name: `cpu`, or torch's name of a GPU, `cuda` or `cuda:0`.
        trained: what is trained there, in the plural, for the message.

    Raises:
        BadInputError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise BadInputError(f"torch knows no device {name!r}, only such as cpu, cuda or cuda:0") from e
    if device.type not in (CPU, CUDA):
        raise BadInputError(f"{trained} are trained on cpu or cuda, not on {name!r}")
    if device.type == CUDA and (device.index or 0) >= torch.cuda.device_count():
        raise BadInputError(f"there is no device {name!r} here that torch can compute on")
    return device
