"""FLOPs and parameters by the formulas that a survey of hardware-aware NAS prints, as printed.

Source: Österdiekhoff, "Hardware-aware Neural Architecture Search", equations (3) to (6), section "Calculation of
FLOPs and Model Size". They are for comparison with work that uses them, and differ from the benchmark's counts:

- (3) counts a multiply and an add apart (the factor 2), a bias that the networks here do not have (the + 1), and
  the height and width of the *input*: fourfold for a convolution of stride 2, where multiply-accumulates on output
  sizes count what is computed. Without stride it is 2·MACs + 2·H·W·C_out.
- (4) is printed as 2·(I - 1)·O. The usual count is (2·I - 1)·O; multiply-accumulates are I·O.
- (5) adds a bias to each convolution and nothing for batch norm; the networks here have no such bias and two
  parameters a channel of batch norm.
- None of them counts batch norm, pooling, additions of feature maps or groups.
"""

from __future__ import annotations

from searcher.spaces.architecture import Architecture
from searcher.spaces.counts import Convolution, convolutions
from searcher.spaces.nasbench201 import NasBench201

SURVEY = "Österdiekhoff, Hardware-aware Neural Architecture Search, equations (3) to (6), as printed"


def conv_flops(height: int, width: int, in_channels: int, kernel: int, out_channels: int) -> int:
    """Return 2·H·W·(C_in·K² + 1)·C_out, equation (3); H and W are the input's."""
    return 2 * height * width * (in_channels * kernel**2 + 1) * out_channels


def linear_flops(inputs: int, outputs: int) -> int:
    """Return 2·(I - 1)·O, equation (4)."""
    return 2 * (inputs - 1) * outputs


def conv_parameters(in_channels: int, kernel: int, out_channels: int) -> int:
    """Return C_in·K²·C_out + C_out, equation (5)."""
    return in_channels * kernel**2 * out_channels + out_channels


def linear_parameters(inputs: int, outputs: int) -> int:
    """Return I·O + O, equation (6)."""
    return inputs * outputs + outputs


def survey_flops(space: NasBench201, architecture: Architecture) -> int:
    """Return the FLOPs of a NAS-Bench-201 network by (3) and (4), all six edges of a cell counted."""
    total = linear_flops(space.head.input_shapes[0][1], space.classes)
    for layer, count in _convolutions(space, architecture):
        flops = conv_flops(layer.height, layer.width, layer.in_channels, layer.kernel, layer.out_channels)
        total += count * flops
    return total


def survey_parameters(space: NasBench201, architecture: Architecture) -> int:
    """Return the parameters of a NAS-Bench-201 network by (5) and (6), all six edges of a cell counted."""
    total = linear_parameters(space.head.input_shapes[0][1], space.classes)
    for layer, count in _convolutions(space, architecture):
        total += count * conv_parameters(layer.in_channels, layer.kernel, layer.out_channels)
    return total


def _convolutions(space: NasBench201, architecture: Architecture) -> list[tuple[Convolution, int]]:
    counted = space.counted_blocks(architecture)
    return [(layer, count) for spec, count in counted.items() for layer in convolutions(spec)]
