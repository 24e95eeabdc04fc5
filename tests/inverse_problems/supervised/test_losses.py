"""Each loss is its formula, and its gradient goes where it should and nowhere else."""

import math

import pytest
import torch
from torch import Tensor

from common.metrics.mmd import mmd
from inverse_problems.supervised.config import Train, Weights
from inverse_problems.supervised.data import PROBLEMS
from inverse_problems.supervised.losses import Drawn, disturb, draw, losses, total
from inverse_problems.supervised.model import build, chain_of
from inverse_problems.supervised.train import layout_of
from tests.inverse_problems.supervised.small import training

ALL = Weights(1.0, 1.0, 1.0, 1.0, 1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Case:
    """A batch of a tiny training, in float64."""

    def __init__(self, **changes: object) -> None:
        self.cfg: Train = training(**changes)
        self.layout = layout_of(self.cfg)
        self.stack = build(self.cfg.model, self.layout, 2, 0).double()
        x, y = PROBLEMS["mixture_some"].draw(24, seeded(), torch.float64)
        self.x, self.y = x.unflatten(0, (2, 12)), y.unflatten(0, (2, 12))
        self.batch: Drawn = draw(self.cfg, self.layout, self.x, self.y, seeded(1))

    def losses(self, weights: Weights = ALL, seed: int = 2) -> dict[str, Tensor]:
        return losses(self.stack, self.cfg, self.layout, weights, self.batch, seeded(seed))

    def outputs(self) -> Tensor:
        return chain_of(self.stack)(self.batch.x)[0]


def test_a_batch_is_padded_and_disturbed_as_told():
    case = Case()
    z, pad, y = case.layout.parts(case.batch.target)
    assert torch.equal(case.batch.x[..., :2], case.x)
    assert (case.batch.x.shape, case.batch.target.shape) == ((2, 12, 11), (2, 12, 11))
    # Four standard errors of a standard deviation, of the number of entries each.
    for part, std in ((case.batch.x[..., 2:], 0.01), (pad, 0.01), (y - case.y, 0.05), (z, 1.0)):
        assert part.std().item() == pytest.approx(std, rel=4 / (2 * part.numel()) ** 0.5)


@pytest.mark.parametrize("fit", ["sum", "mean"])
def test_the_squared_error_is_that_of_observation_and_padding(fit: str):
    case = Case(fit=fit)
    square = (case.outputs() - case.batch.target)[..., 2:].square()
    expected = square.sum(-1) if fit == "sum" else square.mean(-1)
    torch.testing.assert_close(case.losses()["y"], expected.mean(-1))


def test_the_latents_are_compared_beside_the_observation():
    case = Case()
    out, target = case.outputs(), case.batch.target
    pick = [0, 1, *range(3, 11)]
    expected = mmd(out[..., pick], target[..., pick], case.cfg.kernel_z)
    torch.testing.assert_close(case.losses()["z"], expected)


def test_the_loss_of_the_latents_never_bends_the_observation():
    case = Case()
    target = case.batch.target
    out = case.outputs().detach().requires_grad_()
    z, _, y = case.layout.parts(out)
    stopped = mmd(
        torch.cat((z, y.detach()), -1), target[..., [0, 1, *range(3, 11)]], case.cfg.kernel_z
    )
    (expected,) = torch.autograd.grad(stopped.sum(), out)
    assert not expected[..., 2:].any()
    assert expected[..., :2].any()
    # The networks get the gradient of exactly this.
    ours = torch.autograd.grad(case.losses()["z"].sum(), list(case.stack.parameters()))
    theirs = torch.autograd.grad(case.outputs(), list(case.stack.parameters()), expected)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("padding", [True, False])
def test_inverted_observations_are_compared_with_x(padding: bool):
    case = Case(match_padding=padding)
    guess = chain_of(case.stack).inverse(case.batch.target)
    width = 11 if padding else 2
    expected = mmd(guess[..., :width], case.batch.x[..., :width], case.cfg.kernel_x)
    torch.testing.assert_close(case.losses()["x"], expected)


def test_outputs_are_reconstructed_from_a_little_noise():
    case = Case()
    out = case.outputs().detach()
    moved = disturb(case.cfg, case.layout, out, case.batch, seeded(2))
    fresh = (moved - out) / out.new_tensor([0.02] * 2 + [0.01] + [0.05] * 8)
    assert fresh.std().item() == pytest.approx(1.0, rel=4 / (2 * fresh.numel()) ** 0.5)
    back = chain_of(case.stack).inverse(moved)
    expected = (back - case.batch.x).square().sum(-1).mean(-1)
    torch.testing.assert_close(case.losses()["rec"], expected)


def test_targets_are_reconstructed_from_the_true_observation():
    case = Case(reconstruct="targets")
    out = case.outputs().detach()
    z, pad, y = case.layout.parts(disturb(case.cfg, case.layout, out, case.batch, seeded(2)))
    assert (z - out[..., :2]).abs().max() < 0.02 * 5
    assert pad.abs().max() < 0.01 * 5
    assert (y - case.y).abs().max() < 0.05 * 5


def test_the_likelihood_is_that_of_three_normals_and_the_jacobian():
    case = Case()
    chain, cfg = chain_of(case.stack), case.cfg
    x = case.batch.x[:, 0]
    jacobian = torch.autograd.functional.jacobian(lambda v: chain(v.unsqueeze(1))[0][:, 0], x)
    own = torch.stack([jacobian[k, :, k] for k in range(2)])
    z, pad, y = case.layout.parts(chain(x.unsqueeze(1))[0][:, 0])

    def log_prob(part: Tensor, std: float) -> Tensor:
        return torch.distributions.Normal(0.0, std).log_prob(part).sum(-1)

    expected = log_prob(z, 1.0) + log_prob(pad, cfg.noise.pad)
    expected = expected + log_prob(y - case.y[:, 0], cfg.noise.y)
    expected = -(expected + torch.linalg.slogdet(own).logabsdet)
    one = Drawn(case.batch.x[:, :1], case.y[:, :1], case.batch.target[:, :1])
    found = losses(case.stack, cfg, case.layout, Weights(likelihood=1.0), one, seeded())
    torch.testing.assert_close(found["likelihood"], expected)


def test_only_losses_with_a_weight_are_computed():
    case = Case()
    weights = Weights(y=2.0, rec=3.0)
    found = case.losses(weights)
    assert found.keys() == {"y", "rec"}
    torch.testing.assert_close(total(found, weights), 2 * found["y"] + 3 * found["rec"])


def test_training_on_the_likelihood_alone_learns():
    case = Case()
    optimiser = torch.optim.Adam(case.stack.parameters(), lr=1e-2)
    first = math.inf
    for step in range(60):
        loss = total(case.losses(Weights(likelihood=1.0)), Weights(likelihood=1.0)).sum()
        first = loss.item() if step == 0 else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 * first
