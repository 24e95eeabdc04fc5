"""Inputs that cannot be found again, and what is done about them."""

import math

import pytest
import torch

from common.bijections.actnorm import ActNorm
from common.bijections.base import Bijection, Chain
from common.bijections.registry import randomise
from common.bijections.reversible import Reversible

from .chains import affine, data, glow, gradients, relative, seeded

SAVING = ("invertible", "reuse")


def squashing(log_scale: float, shift: float) -> Bijection:
    norm = ActNorm(6)
    with torch.no_grad():
        norm.log_scale.fill_(log_scale)
        norm.shift.fill_(shift)
    return norm


def ill_conditioned(size: float = 16.0) -> Chain:
    """Return a chain that squeezes its values next to 1, where float32 keeps none of them."""
    torch.manual_seed(0)
    ends = [randomise(Chain([affine(0), affine(1)]), seed) for seed in (1, 2)]
    middle = [squashing(-size, 1.0), squashing(size, -math.exp(size))]
    return Chain([ends[0], *middle, ends[1]]).eval()


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("backprop", SAVING)
def test_a_lost_input_gives_right_gradients_in_the_same_step(backprop, direction):
    plain, x = ill_conditioned(), data("norms").float()
    chain = Reversible(plain.links, backprop)
    count = x.numel()  # gradients by the norms are larger by many powers of ten
    expected = gradients(plain, direction, x)[:count]
    with pytest.warns(RuntimeWarning, match="computed with checkpoints"):
        found = gradients(chain, direction, x)[:count]
    assert relative(found, expected) < 1e-6
    assert chain.reconstruction.fallbacks == 1
    assert chain.reconstruction.worst > 1e-3
    # The input that was found is indeed no good.
    loose = Reversible(plain.links, backprop, bound=None)
    assert relative(gradients(loose, direction, x)[:count], expected) > 1e-2
    assert loose.reconstruction.fallbacks == 0
    assert loose.reconstruction.worst == chain.reconstruction.worst


@pytest.mark.parametrize("backprop", SAVING)
def test_values_that_are_not_finite_fall_back_too(backprop):
    plain, x = ill_conditioned(60.0), data("norms").float()
    chain = Reversible(plain.links, backprop)
    with pytest.warns(RuntimeWarning):
        gradients(chain, "forward", 1e38 * x)  # overflows on the way back
    assert chain.reconstruction.fallbacks == 1
    assert math.isnan(chain.reconstruction.worst)


def test_only_the_piece_between_anchors_that_lost_its_input_is_done_again():
    plain, x = ill_conditioned(), data("norms").float()
    chain = Reversible(plain.links, anchor_every=1)
    with pytest.warns(RuntimeWarning):
        found = gradients(chain, "forward", x)
    assert relative(found, gradients(plain, "forward", x)) < 1e-6
    assert chain.reconstruction.pieces == 4  # one coupling and what goes with it in each
    assert chain.reconstruction.fallbacks == 1


def test_the_error_is_that_of_the_input_found():
    chain = Reversible(glow(4).links)
    x = 256 * torch.rand(6, 2, 4, 4, generator=seeded())
    gradients(chain, "forward", x)
    with torch.no_grad():
        back = chain.inverse(chain(x)[0])
    # Relative to the largest value, as these go up to 256.
    expected = (back - x).abs().max() / x.max()
    assert chain.reconstruction.worst == pytest.approx(float(expected), rel=1e-5)
    assert f"worst={chain.reconstruction.worst:.2g}" in repr(chain.reconstruction)
    chain.reconstruction.reset()
    assert (chain.reconstruction.worst, chain.reconstruction.pieces) == (0.0, 0)


def test_the_largest_error_of_several_passes_is_kept():
    chain, x = Reversible(ill_conditioned(4.0).links), data("norms").float()
    errors = []
    for scale in (1.0, 3.0, 0.1):
        chain.reconstruction.reset()
        gradients(chain, "forward", scale * x)
        errors.append(chain.reconstruction.worst)
    chain.reconstruction.reset()
    for scale in (1.0, 3.0, 0.1):
        gradients(chain, "forward", scale * x)
    assert chain.reconstruction.worst == max(errors) > 0
    assert chain.reconstruction.pieces == 3
