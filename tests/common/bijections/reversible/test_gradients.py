"""The gradients of a reversible chain are those of a plain one."""

import pytest
import torch

from common.bijections.base import Chain
from common.bijections.reversible import Reversible

from .chains import (
    IMAGES,
    VECTORS,
    data,
    directions,
    glow,
    gradients,
    links,
    loss_of,
    relative,
    seeded,
)

# Inverses round: the chains amplify 1e-16 by their condition, some thousands.
CLOSE = 1e-10
SAVING = ("checkpoint", "invertible", "reuse")


@pytest.mark.parametrize("backprop", SAVING)
@pytest.mark.parametrize("name", [*VECTORS, *IMAGES])
def test_gradients_are_those_of_a_plain_chain_in_both_directions(name, backprop):
    parts, x = links(name), data(name)
    plain, chain = Chain(parts), Reversible(parts, backprop)
    z = plain(x)[0].detach()
    for direction in directions(chain):
        start = x if direction == "forward" else z
        expected = gradients(plain, direction, start)
        assert expected.isfinite().all()
        assert relative(gradients(chain, direction, start), expected) < CLOSE
    assert chain.reconstruction.fallbacks == 0
    assert (chain.reconstruction.pieces > 0) == (backprop != "checkpoint")


@pytest.mark.parametrize("backprop", SAVING)
def test_values_are_those_of_a_plain_chain(backprop):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow")
    plain, chain = Chain(parts), Reversible(parts, backprop)
    for direction, run in directions(chain).items():
        (y, logdet), (expected, expected_logdet) = run(x), directions(plain)[direction](x)
        assert torch.equal(y, expected)
        torch.testing.assert_close(logdet, expected_logdet)  # summed in another order


@pytest.mark.parametrize("backprop", SAVING)
def test_autograd_grad_gives_what_is_asked_for(backprop):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow").requires_grad_()
    chosen = [x, *list(parts.parameters())[3:5]]
    expected = torch.autograd.grad(loss_of(*Chain(parts)(x)), chosen)
    loss = loss_of(*Reversible(parts, backprop)(x))
    for again in (True, False):
        found = torch.autograd.grad(loss, chosen, retain_graph=again)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=CLOSE, atol=CLOSE * float(b.abs().max()))
    assert all(p.grad is None for p in parts.parameters())


@pytest.mark.parametrize("backprop", SAVING)
def test_only_what_requires_a_gradient_gets_one(backprop):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow")
    chain = Reversible(parts, backprop)
    frozen = list(parts.parameters())[::2]
    for parameter in frozen:
        parameter.requires_grad_(False)
    expected = gradients(Chain(parts), "forward", x)
    assert relative(gradients(chain, "forward", x), expected) < CLOSE
    assert all(p.grad is None for p in frozen)
    chain.zero_grad()
    loss_of(*chain(x)).backward()  # here the input does not want one
    learnt = [p for p in parts.parameters() if p.requires_grad]
    own = torch.cat([p.grad.flatten() for p in learnt])
    Chain(parts).zero_grad()
    loss_of(*Chain(parts)(x)).backward()
    assert relative(own, torch.cat([p.grad.flatten() for p in learnt])) < CLOSE


@pytest.mark.parametrize("backprop", SAVING)
def test_a_frozen_chain_differentiates_by_its_latents_alone(backprop):
    """As the recovery of images does, whose weights are fixed."""
    parts = links("multi-scale Glow").requires_grad_(False)
    z = Chain(parts)(data("multi-scale Glow"))[0].requires_grad_()
    chain = Reversible(parts, backprop)
    (found,) = torch.autograd.grad(chain.inverse(z).square().sum(), z)
    (expected,) = torch.autograd.grad(Chain(parts).inverse(z).square().sum(), z)
    assert relative(found, expected) < CLOSE


@pytest.mark.parametrize("backprop", SAVING)
def test_a_chain_may_be_used_twice_in_one_graph(backprop):
    parts, x = links("1x1 convolutions"), data("1x1 convolutions")

    def there_and_back(chain):
        """Return a loss of samples and densities: both directions, one after the other."""
        z, logdet = chain.forward_and_logdet(x)
        moved, other = chain.inverse_and_logdet(0.9 * z)
        chain.zero_grad()
        (loss_of(moved, other) + loss_of(z, logdet)).backward()
        return torch.cat([p.grad.flatten() for p in parts.parameters()])

    expected = there_and_back(Chain(parts))
    assert relative(there_and_back(Reversible(parts, backprop)), expected) < CLOSE


@pytest.mark.parametrize("backprop", SAVING)
def test_outputs_that_the_loss_does_not_see_are_no_matter(backprop):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow").requires_grad_()
    chain = Reversible(parts, backprop)
    for output in (0, 1):
        (found,) = torch.autograd.grad(chain(x)[output].square().sum(), x)
        (expected,) = torch.autograd.grad(Chain(parts)(x)[output].square().sum(), x)
        assert relative(found, expected) < CLOSE


@pytest.mark.parametrize("backprop", SAVING)
def test_nothing_is_kept_without_gradients(backprop):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow")
    with torch.no_grad():
        z, logdet = Reversible(parts, backprop)(x)
    assert not z.requires_grad
    assert not logdet.requires_grad
    assert torch.equal(z, Chain(parts)(x)[0])


def test_functional_transforms_see_a_plain_chain():
    parts, x = links("affine couplings"), data("affine couplings", 2)
    chain = Reversible(parts)
    found = torch.func.vmap(torch.func.jacrev(lambda v: chain(v[None])[0][0]))(x)
    logdet = torch.linalg.slogdet(found).logabsdet
    torch.testing.assert_close(logdet, Chain(parts)(x)[1])


def test_second_derivatives_are_refused():
    parts, x = links("affine couplings"), data("affine couplings").requires_grad_()
    loss = loss_of(*Reversible(parts)(x))
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("every", [1, 3, 5])
def test_anchors_leave_the_gradients_as_they_are(every):
    parts, x = links("multi-scale Glow"), data("multi-scale Glow")
    chain = Reversible(parts, anchor_every=every)
    assert relative(gradients(chain, "forward", x), gradients(Chain(parts), "forward", x)) < CLOSE
    assert chain.reconstruction.pieces > 1


def test_a_chain_in_a_chain_counts_with_its_links():
    parts, x = links("1x1 convolutions"), data("1x1 convolutions")
    nested = Reversible([Reversible(parts[:2], "plain"), Chain(parts[2:])])
    expected = gradients(Chain(parts), "forward", x)
    assert relative(gradients(nested, "forward", x), expected) < CLOSE


def test_shared_links_get_the_sum_of_their_gradients():
    torch.manual_seed(0)
    (link,) = links("affine couplings")[:1]
    other = links("affine couplings")[1]
    x, order = data("affine couplings"), [link, other, link]
    expected = gradients(Chain(order), "forward", x)
    assert relative(gradients(Reversible(order), "forward", x), expected) < CLOSE


def test_a_float32_glow_keeps_the_gradients_to_the_rounding_of_its_inverse():
    chain = glow(8)
    parts, x = chain.links, 256 * torch.rand(6, 2, 4, 4, generator=seeded())
    saving = Reversible(parts)
    found, expected = gradients(saving, "forward", x), gradients(chain, "forward", x)
    assert 0 < saving.reconstruction.worst < 1e-4
    assert relative(found, expected) < 1e-3
