"""Linear CKA by Gram matrices against the plain definition, and the guard against nothing at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from searcher.search.scores.cka import centred_gram, linear_cka, representation_mutual_information


def plain_cka(first: Tensor, second: Tensor) -> float:
    """Kornblith et al. (2019), Eq. 3 and the linear kernel: from d×d matrices of centred features."""
    first, second = first.flatten(1).double(), second.flatten(1).double()
    first, second = first - first.mean(0), second - second.mean(0)
    cross = torch.linalg.norm(second.T @ first) ** 2
    return float(cross / (torch.linalg.norm(first.T @ first) * torch.linalg.norm(second.T @ second)))


def features(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
def test_gram_form_equals_the_plain_form(seed: int) -> None:
    first = features(seed, 12, 3, 4, 4) + 5  # a large mean, which centring must remove
    second = features(seed + 100, 12, 7) @ features(seed + 200, 7, 9) - 3
    similarity = linear_cka(centred_gram(first), centred_gram(second))
    assert float(similarity) == pytest.approx(plain_cka(first, second), rel=1e-4)


def test_a_gram_matrix_is_centred_both_ways() -> None:
    gram = centred_gram(features(0, 10, 6) + 100)
    assert torch.allclose(gram.sum(0), torch.zeros(10), atol=1e-3)
    assert torch.allclose(gram, gram.T)


def test_similarity_ignores_rotation_and_scale_and_knows_itself() -> None:
    first = features(1, 16, 8)
    rotation, _ = torch.linalg.qr(features(2, 8, 8))
    assert float(linear_cka(centred_gram(first), centred_gram(3 * first @ rotation))) == pytest.approx(1, abs=1e-5)


def test_a_constant_representation_is_similar_to_nothing_and_gives_no_gradient() -> None:
    constant = torch.ones(6, 4, requires_grad=True)
    similarity = linear_cka(centred_gram(features(3, 6, 4)), centred_gram(constant))
    assert float(similarity.detach()) == 0
    similarity.backward()  # type: ignore[no-untyped-call]
    assert constant.grad is not None
    assert bool(torch.isfinite(constant.grad).all())


def test_rmi_sums_layers_of_equal_weight() -> None:
    layers = [features(seed, 8, 5) for seed in range(3)]
    grams = [centred_gram(layer) for layer in layers]
    assert float(representation_mutual_information(grams, layers)) == pytest.approx(3, abs=1e-5)
    with pytest.raises(ValueError, match="zip"):
        representation_mutual_information(grams, layers[:2])


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), 1e30])
def test_what_overflowed_is_no_similarity_rather_than_none(spoilt: float) -> None:
    sound = centred_gram(features(0, 8, 5))
    broken = features(1, 8, 5)
    broken[0, 0] = spoilt
    assert torch.isnan(linear_cka(sound, centred_gram(broken)))
    assert torch.isnan(representation_mutual_information([sound, sound], [features(2, 8, 3), broken]))
