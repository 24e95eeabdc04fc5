import pytest
import torch
from torch.testing import assert_close

from benchmarks.masked import MaskedLU
from benchmarks.published import (
    PublishedLULayer,
    PublishedLUNet,
    inverse_by_spline,
    leaky_softplus,
    training_step,
)
from common.bijections.elementwise import LeakySoftplus
from common.bijections.lu import LULinear
from lu_net import objective
from lu_net.config import Model
from lu_net.model import Stack, build_lu_net

D = 5


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stack(models=2, dtype=torch.float64):
    bank = build_lu_net(Model("lu_net", layers=3), (D,), 256, models)
    assert isinstance(bank, Stack)
    for i, layer in enumerate(bank.layers()):
        with torch.no_grad():
            layer.packed.add_(noise(models, D, D, seed=i), alpha=0.2)
            layer.bias.add_(noise(models, D, seed=10 + i), alpha=0.2)
    return bank.to(dtype)


def layer():
    return stack(1).layers()[0]


def single():
    """Return a layer without a models dimension."""
    ours = LULinear(D).double()
    with torch.no_grad():
        ours.packed.add_(noise(D, D), alpha=0.2)
        ours.bias.add_(noise(D, seed=1))
    return ours


@pytest.mark.parametrize("peer", [MaskedLU, PublishedLULayer])
def test_dense_layers_compute_what_ours_computes(peer):
    ours, x = single(), noise(7, D, seed=2)
    theirs = peer(ours)
    z, logdet = ours(x)
    out = theirs(x)
    if peer is MaskedLU:
        out, their_logdet = out
        assert_close(their_logdet, logdet)
    else:
        assert_close(theirs.log_diagonal(), logdet[0])
    assert_close(out, z)
    back = theirs.inverse(z)
    assert_close(back[0] if peer is MaskedLU else back, x)


@pytest.mark.parametrize("peer", [MaskedLU, PublishedLULayer])
def test_dense_layers_have_the_gradients_of_ours_and_none_outside_of_the_triangles(peer):
    ours, x, cotangent = single(), noise(7, D, seed=2), noise(7, D, seed=3)
    theirs = peer(ours)
    ours(x)[0].backward(cotangent)
    out = theirs(x)
    (out[0] if peer is MaskedLU else out).backward(cotangent)
    assert_close(theirs.upper.grad, ours.packed.grad.triu())
    assert_close(theirs.lower.grad, ours.packed.grad.tril(-1))
    assert_close(theirs.bias.grad, ours.bias.grad)


def test_the_published_network_and_loss_are_those_of_the_published_objective():
    ours = stack()
    pixels = 255 * noise(2, 6, D, seed=4).sigmoid()
    latents = ours.encode(pixels)
    losses = objective.published(ours.flow, pixels, 100.0, detach=True).sum(-1)
    for k in range(2):
        theirs = PublishedLUNet(ours.layers(), k)
        x = ours.preprocess(pixels)[k]
        assert_close(theirs(x)[0], latents[k])
        assert_close(theirs.loss(x, 100.0), losses[k])


def test_the_published_loss_passes_no_gradient_through_the_slopes():
    ours, pixels = stack(1), 255 * noise(1, 6, D, seed=4).sigmoid()
    objective.published(ours.flow, pixels, 100.0, detach=True).sum().backward()
    theirs = PublishedLUNet(ours.layers())
    theirs.loss(ours.preprocess(pixels)[0], 100.0).backward()
    for mine, other in zip(ours.layers(), theirs.layers, strict=True):
        assert_close(other.upper.grad, mine.packed.grad[0].triu())
        assert_close(other.lower.grad, mine.packed.grad[0].tril(-1))


def test_the_published_preprocessing_is_ours_but_for_the_noise():
    ours, pixels = stack(1), torch.full((1, 4000, D), 77.0, dtype=torch.float64)
    low, high = ours.preprocess(pixels), ours.preprocess(pixels + 1)
    t = PublishedLUNet(ours.layers()).preprocess(pixels[0])
    assert bool(((t >= low[0]) & (t <= high[0])).all())


def test_a_published_step_moves_the_triangles_and_keeps_the_rest():
    theirs = PublishedLUNet(stack(1).layers())
    before = [(m.upper.detach().clone(), m.lower.detach().clone()) for m in theirs.layers]
    optimiser = torch.optim.SGD(theirs.parameters(), lr=0.6, momentum=0.9)
    pixels = 255 * noise(6, D, seed=4).sigmoid()
    for _ in range(3):
        assert training_step(theirs, optimiser, pixels).isfinite()
    for (upper, lower), module in zip(before, theirs.layers, strict=True):
        assert not torch.equal(module.upper, upper)
        assert not torch.equal(module.lower, lower)
        assert_close(module.upper.tril(-1), torch.zeros_like(upper), rtol=0, atol=0)
        assert_close(module.lower.triu(), torch.eye(D, dtype=upper.dtype), rtol=0, atol=0)


def test_the_spline_inverts_the_activation_inside_its_reach_and_not_beyond():
    x = torch.linspace(-900, 900, 1001)
    y = leaky_softplus(x, 0.1)
    assert_close(y, LeakySoftplus(0.1)(x[:, None])[0][:, 0])
    # The grid is held in float32, whose spacing at 900 is 6e-5; the other side divides by 0.1.
    assert_close(inverse_by_spline(y, 0.1, spacing=0.05), x, rtol=2e-6, atol=2e-4)
    beyond = leaky_softplus(torch.tensor([3000.0]), 0.1)
    assert (inverse_by_spline(beyond, 0.1, spacing=0.05) - 3000).abs() > 100


def test_both_decoders_give_the_same_pixels():
    ours = stack(1, torch.float32)
    theirs = PublishedLUNet(ours.layers(), spacing=0.05)
    z = noise(1, 50, D, seed=5).float()
    with torch.no_grad():
        # Grey levels out of 256, float32, three layers.
        assert_close(theirs.decode(z[0]), ours.decode(z)[0], rtol=0, atol=0.02)


def test_both_samplers_draw_the_same_pixels_from_the_same_generator():
    ours = stack(1, torch.float32)
    theirs = PublishedLUNet(ours.layers(), spacing=0.05)
    mine = ours.flow.sample(9, generator=torch.Generator().manual_seed(3), models=(1,))
    other = theirs.sample(9, torch.Generator().manual_seed(3))
    assert_close(other, mine[0], rtol=0, atol=0.02)
