"""Links that change when they are evaluated, and what is refused."""

import copy

import pytest
import torch

from common.bijections.actnorm import ActNorm
from common.bijections.base import Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.concat_squash import ConcatSquashNet
from common.bijections.continuous import Continuous
from common.bijections.reversible import Reversible
from common.errors import UserError

from .chains import data, glow, gradients, links, loss_of, relative, seeded

SAVING = ("checkpoint", "invertible", "reuse")
CLOSE = 1e-10


def training_glow(**options):
    """Return a Glow in training mode whose conditioners do something from the start."""
    return glow(**options).double().train()


@pytest.mark.parametrize("backprop", SAVING)
def test_actnorm_starts_once_and_from_the_same_data(backprop):
    plain, x = training_glow(), data("multi-scale Glow")
    chain = Reversible(copy.deepcopy(plain).links, backprop)
    expected, found = gradients(plain, "forward", x), gradients(chain, "forward", x)
    assert relative(found, expected) < CLOSE
    for a, b in zip(plain.state_dict().values(), chain.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    norms = [part for part in chain.modules() if isinstance(part, ActNorm)]
    assert all(bool(norm.initialised) and norm.training for norm in norms)


@pytest.mark.parametrize("backprop", SAVING)
def test_the_inverse_starts_no_actnorm(backprop):
    chain = Reversible(training_glow().links, backprop)
    gradients(chain, "inverse", torch.randn(5, 2, 4, 4, generator=seeded(), dtype=torch.float64))
    norms = [part for part in chain.modules() if isinstance(part, ActNorm)]
    assert not any(bool(norm.initialised) for norm in norms)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("backprop", SAVING)
def test_conditioners_normalise_and_drop_alike_and_move_their_statistics_once(backprop, direction):
    plain, x = training_glow(batch_norm=True, dropout=0.3), data("multi-scale Glow", 7)
    with torch.no_grad():
        x = plain(x)[0] if direction == "inverse" else x  # and ActNorms start
    chain = Reversible(copy.deepcopy(plain).links, backprop)
    torch.manual_seed(5)
    expected = gradients(plain, direction, x)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert relative(gradients(chain, direction, x), expected) < CLOSE
    assert torch.equal(torch.rand(3), after), "the generator was left elsewhere"
    for a, b in zip(plain.state_dict().values(), chain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(6)
    assert relative(gradients(chain, direction, x), expected) > 0.01, "nothing was dropped"


@pytest.mark.parametrize("backprop", SAVING)
def test_running_norms_in_training_move_once(backprop):
    plain, x = Chain(links("norms")).train(), data("norms", 7)
    chain = Reversible(copy.deepcopy(plain).links, backprop)
    for _ in range(2):
        expected = gradients(plain, "forward", x)
        assert relative(gradients(chain, "forward", x), expected) < CLOSE
    for a, b in zip(plain.state_dict().values(), chain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert chain.links[1].training


@pytest.mark.parametrize("backprop", SAVING)
def test_statistics_that_moved_since_the_pass_are_noticed(backprop):
    chain, x = Reversible(links("norms"), backprop).train(), data("norms", 7)
    loss = loss_of(*chain(x))
    chain(x + 1)
    with pytest.raises(UserError, match="RunningBatchNorm: its statistics have moved"):
        loss.backward()
    chain.eval()
    loss = loss_of(*chain(x))
    chain(x + 1)
    loss.backward()
    assert chain.links[0].shift.grad.isfinite().all()


@pytest.mark.parametrize("backprop", ["invertible", "reuse"])
def test_parameters_that_changed_since_the_pass_are_noticed(backprop):
    chain, x = Reversible(links("affine couplings"), backprop), data("affine couplings")
    loss = loss_of(*chain(x))
    with torch.no_grad():
        next(chain.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("backprop", SAVING)
def test_random_log_determinants_are_refused(backprop):
    flow = Continuous(ConcatSquashNet(3, 4, 1))
    flow.generator = seeded()
    chain = Reversible([flow], backprop)
    with pytest.raises(UserError, match="Continuous: its log-determinant is drawn at random"):
        chain(torch.randn(2, 3, generator=seeded()))


def test_autocast_is_refused_but_for_checkpoints():
    x = data("multi-scale Glow").float()
    with torch.autocast("cpu", torch.bfloat16):
        for backprop in ("invertible", "reuse"):
            chain = Reversible(links("multi-scale Glow", torch.float32), backprop)
            with pytest.raises(UserError, match="expected full precision, or backprop checkpoint"):
                chain(x)
        parts = links("multi-scale Glow", torch.float32)
        z, expected = Reversible(parts, "checkpoint")(x)[0], Chain(parts)(x)[0]
    assert torch.equal(z, expected)
    z.sum().backward()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backprop": "reversible"}, "expected one of plain, checkpoint, invertible, reuse"),
        ({"bound": 0.0}, "expected a positive bound"),
        ({"anchor_every": 0}, "expected anchor_every >= 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Reversible([RunningBatchNorm(2)], **arguments)
