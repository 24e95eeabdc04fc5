import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.bijections.elementwise import LeakySoftplus
from common.bijections.registry import randomise
from lu_net.config import Model, Train
from lu_net.model import Stack, build_lu_net
from lu_net.objective import objective, published

FEATURES, MODELS, LEVELS = 5, 2, 17
LU_NET = Model("lu_net", layers=3)


def stack(levels: int | None = LEVELS) -> Stack:
    bank = build_lu_net(LU_NET, (FEATURES,), levels, MODELS)
    assert isinstance(bank, Stack)
    randomise(bank.flow.bijection)
    return bank.double()


def items(n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return LEVELS * torch.rand(MODELS, n, FEATURES, generator=generator, dtype=torch.float64)


def by_hand(bank: Stack, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (K, B, D), sum ln phi' and sum ln |u_dd| (K, B) of logits t, written out."""
    eye = torch.eye(FEATURES, dtype=torch.float64)
    layers = bank.layers()
    slopes = torch.zeros(t.shape[:-1], dtype=torch.float64)
    diagonals = torch.zeros_like(slopes)
    for m, layer in enumerate(layers):
        lower, upper = layer.packed.tril(-1) + eye, layer.packed.triu()
        t = torch.einsum("kij,kjl,kbl->kbi", lower, upper, t) + layer.bias[:, None]
        diagonals = diagonals + torch.einsum("kii->ki", upper).abs().log().sum(-1)[:, None]
        if m < len(layers) - 1:
            slopes = slopes + torch.log(0.1 + 0.9 / (1 + torch.exp(-t))).sum(-1)
            t = 0.1 * t + 0.9 * F.softplus(t)
    return t, slopes, diagonals


def preprocessing_logdet(bank: Stack, x: Tensor) -> Tensor:
    """ln |det| of the map from pixels to logits, written out, (K, B)."""
    s = (1 - LU_NET.margin) * x / LEVELS + LU_NET.margin / 2
    return torch.log((1 - LU_NET.margin) / (LEVELS * s * (1 - s))).sum(-1)


def gradients(loss: Tensor, bank: Stack) -> list[Tensor]:
    return list(
        torch.autograd.grad(
            loss.sum(), list(bank.parameters()), retain_graph=True, materialize_grads=True
        )
    )


def test_the_likelihood_is_the_formula_written_out():
    bank, t = stack(levels=None), items() / LEVELS
    z, slopes, diagonals = by_hand(bank, t)
    expected = (
        0.5 * FEATURES * math.log(2 * math.pi) + 0.5 * z.square().sum(-1) - slopes - diagonals
    )
    loss = objective(bank.flow, t, Train(LU_NET))
    torch.testing.assert_close(loss, expected)
    assert torch.equal(loss, -bank.flow.log_prob(t))
    for ours, reference in zip(gradients(loss, bank), gradients(expected, bank), strict=True):
        torch.testing.assert_close(ours, reference)


def test_the_likelihood_of_pixels_counts_the_preprocessing():
    bank, x = stack(), items()
    z, slopes, diagonals = by_hand(bank, bank.preprocess(x))
    expected = (
        0.5 * FEATURES * math.log(2 * math.pi) + 0.5 * z.square().sum(-1) - slopes - diagonals
    )
    expected = expected - preprocessing_logdet(bank, x)
    torch.testing.assert_close(objective(bank.flow, x, Train(LU_NET)), expected)


def test_the_published_objective_differs_from_the_likelihood_as_documented():
    # Weight 1 and no detach leave two differences: no Jacobian of the pixels, and ln pi.
    bank, x = stack(), items()
    ours = objective(bank.flow, x, Train(LU_NET))
    theirs = published(bank.flow, x, logdet_weight=1.0, detach=False)
    difference = preprocessing_logdet(bank, x) - 0.5 * FEATURES * math.log(2)
    torch.testing.assert_close(theirs, ours + difference)
    for a, b in zip(gradients(theirs, bank), gradients(ours, bank), strict=True):
        torch.testing.assert_close(a, b)


def test_the_constant_of_the_published_objective_is_half_a_bit_per_dimension():
    bank, t = stack(levels=None), items() / LEVELS
    theirs = published(bank.flow, t, logdet_weight=1.0, detach=False)
    bits = (theirs + bank.flow.log_prob(t)) / (FEATURES * math.log(2))
    torch.testing.assert_close(bits, torch.full_like(bits, -0.5))


@pytest.mark.parametrize("weight", [0.0, 2.5, 100.0])
def test_the_weight_multiplies_the_log_diagonals_only(weight):
    bank, x = stack(), items()
    z, slopes, diagonals = by_hand(bank, bank.preprocess(x))
    expected = 0.5 * z.square().sum(-1) - slopes - weight * diagonals
    expected = expected + 0.5 * FEATURES * math.log(math.pi)
    theirs = published(bank.flow, x, logdet_weight=weight, detach=False)
    torch.testing.assert_close(theirs, expected)
    for a, b in zip(gradients(theirs, bank), gradients(expected, bank), strict=True):
        torch.testing.assert_close(a, b)


def test_detaching_keeps_the_value_and_stops_the_gradient_of_the_slopes():
    bank, x = stack(), items()
    attached = published(bank.flow, x, logdet_weight=100.0, detach=False)
    detached = published(bank.flow, x, logdet_weight=100.0, detach=True)
    assert torch.equal(attached, detached)
    z, slopes, diagonals = by_hand(bank, bank.preprocess(x))
    without = gradients(0.5 * z.square().sum(-1) - 100 * diagonals, bank)
    slope = gradients(-slopes, bank)
    for a, d, w, s in zip(
        gradients(attached, bank), gradients(detached, bank), without, slope, strict=True
    ):
        torch.testing.assert_close(d, w)
        torch.testing.assert_close(a, w + s)
    # The first layers do see the slopes when attached, so the two differ.
    assert slope[0].abs().max() > 1e-3


def test_the_configuration_chooses_the_objective():
    bank, x = stack(), items()
    cfg = Train(LU_NET, objective="published", logdet_weight=100.0, detach=True)
    expected = published(bank.flow, x, 100.0, True)
    assert torch.equal(objective(bank.flow, x, cfg), expected)
    assert torch.equal(objective(bank.flow, x, Train(LU_NET)), -bank.flow.log_prob(x))


def test_the_activation_has_the_published_slope():
    activations = [link for link in stack().links if isinstance(link, LeakySoftplus)]
    assert [a.slope for a in activations] == [0.1, 0.1]
