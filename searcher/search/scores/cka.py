"""Linear centred kernel alignment between representations, from n×n Gram matrices.

Kornblith et al., Similarity of Neural Network Representations Revisited (2019), in the form of Gram matrices: for
features X of shape (n, d), K = X·Xᵀ is n×n however large d is, so that layers of any shapes compare. HW-EvRSNAS
(Eq. 2) prints the equal d×d form, with a typo in its numerator and without the centring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def centred_gram(features: Tensor) -> Tensor:
    """Return H·X·Xᵀ·H with H = I - 1/n.

    Args:
        features: (n, ...) one representation for each of n images.

    Returns:
        (n, n), of rows and columns that sum to 0.
    """
    flat = features.flatten(1)
    # Centring the features first is the same in exact arithmetic, and keeps the digits that large means would eat.
    centred = flat - flat.mean(dim=0, keepdim=True)
    return centred @ centred.T


def linear_cka(first_gram: Tensor, second_gram: Tensor) -> Tensor:
    """Return ⟨K, L⟩ / (‖K‖·‖L‖) of two centred Gram matrices (n, n): a scalar within [0, 1].

    A representation that is the same for all images has a zero Gram matrix and is similar to nothing: 0. Gram matrices
    that overflowed or hold no numbers are no representations, and the answer is NaN.
    """
    norms = torch.linalg.norm(first_gram) * torch.linalg.norm(second_gram)
    alignment = (first_gram * second_gram).sum()
    # The inner `where` keeps 0/0 out of the gradient, which the outer one alone would not.
    zero = norms == 0
    similarity = torch.where(zero, 0.0, alignment / torch.where(zero, torch.ones_like(norms), norms))
    # Anything finite over an overflow would be 0, which looks like an answer.
    return torch.where(norms.isfinite(), similarity, math.nan)


def representation_mutual_information(reference_grams: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """Return φ, the sum over layers of linear CKA, all layers weighing the same (HW-EvRSNAS, Eq. 2 corrected).

    Args:
        reference_grams: (n, n) for each layer of the reference.
        features: (n, ...) for each layer of the candidate.

    Returns:
        A scalar within [0, number of layers].

    Raises:
        ValueError: the numbers of layers differ.
    """
    pairs = zip(reference_grams, features, strict=True)
    return torch.stack([linear_cka(gram, centred_gram(feature)) for gram, feature in pairs]).sum()
