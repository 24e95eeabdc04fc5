import dataclasses

import pytest
import torch
from torch.testing import assert_close

from common.errors import UserError
from common.metrics.psnr import psnr
from inverse_problems.operators.grouped import Grouped
from inverse_problems.operators.identity import Identity
from inverse_problems.recovery.budgets import BUDGETS, LBFGS, Adam
from inverse_problems.recovery.recover import Objective, Recoverer, recover
from inverse_problems.recovery.recovery import winner
from inverse_problems.recovery.starts import Start
from tests.inverse_problems.recovery.parts import TinyFlow, gaussian, linear_prior

SHAPE = (1, 3, 4)
SHORT = LBFGS(mode="strong_wolfe", outer=3, inner=10)


def latents(count, k=12, seed=1):
    noise = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(count, k, generator=noise, dtype=torch.float64)


def problem(count=5, m=6):
    """Return a linear prior, an operator, images and their measurements."""
    prior, operator = linear_prior(SHAPE), gaussian(m, SHAPE)
    x = prior.decode(latents(count)).detach()
    return prior, operator, x, operator(x)


def test_enough_measurements_give_the_image_back():
    prior = TinyFlow()
    x = prior.decode(latents(3, 64)).detach()
    x = (x - x.min()) / (x.max() - x.min())  # a flow has every image in its range
    found = recover(prior, Identity(prior.shape), x, optimiser="robust")
    assert (psnr(found.x, x) > 60).all()
    assert_close(found.x, found.unclamped.clamp(0, 1))
    assert_close(prior.decode(found.z), found.unclamped)
    assert_close(found.residual, found.objective)
    assert_close(found.norm, found.z.norm(dim=-1) / 8)
    assert found.x.grad_fn is None
    assert sum(found.ends().values()) == 3


def test_chunks_change_nothing():
    prior, operator, x, y = problem()
    gamma = torch.linspace(0, 1, 5, dtype=torch.float64)
    seen: list[int] = []
    for start in (Start("normal", size=0.5, restarts=2, seed=3), Start("null_space", size=1.0)):
        options = {
            "objective": Objective(penalty="squared", gamma=gamma),
            "optimiser": SHORT,
            "start": start,
            "image": x,
        }
        whole = recover(prior, operator, y, **options)
        parts = recover(prior, operator, y, chunk=2, progress=seen.append, **options)
        for field in dataclasses.fields(whole):
            if field.name != "seconds":
                a, b = getattr(parts, field.name), getattr(whole, field.name)
                assert_close(a, b, rtol=0, atol=1e-8)
    assert seen == [2, 4, 5] * 2


def test_a_prior_is_left_as_it_came():
    prior, operator, _, y = problem()
    prior.train()
    before = prior.matrix.detach().clone()
    recover(prior, operator, y, optimiser=SHORT)
    assert prior.training
    assert prior.matrix.requires_grad
    assert prior.matrix.grad is None
    assert_close(prior.matrix.detach(), before, rtol=0, atol=0)


def test_of_restarts_the_lowest_residual_wins_image_by_image():
    prior, operator, _, y = problem()
    options = {"optimiser": Adam(lr=0.05, steps=15), "chunk": 5}
    start = Start("normal", size=1.0, restarts=3, seed=5)
    best = recover(prior, operator, y, start=start, **options)
    starts = [start.draw(i, prior, operator, y, None) for i in range(3)]
    tries = [recover(prior, operator, y, start=z0, **options) for z0 in starts]
    residuals = torch.stack([each.residual for each in tries])
    assert_close(best.residual, residuals.amin(0))
    assert len(residuals.argmin(0).unique()) > 1  # images choose by themselves
    for i, k in enumerate(residuals.argmin(0).tolist()):
        assert_close(best.z[i], tries[k].z[i])
        assert_close(best.values[:, i], tries[k].values[:, i])
    assert (best.evaluations == 3 * 16).all()


def test_a_restart_that_failed_never_wins_and_is_counted():
    prior, operator, _, y = problem(2)
    good = recover(prior, operator, y, optimiser=SHORT)
    lost = dataclasses.replace(
        good,
        residual=torch.full_like(good.residual, torch.nan),
        failures=torch.ones_like(good.failures),
    )
    best = winner([lost, good])
    assert_close(best.z, good.z)
    assert best.failures.tolist() == [1, 1]


def test_groups_with_different_numbers_of_measurements_are_solved_as_one():
    prior, _, x, _ = problem(6)
    operators = [gaussian(m, SHAPE, seed=m) for m in (3, 8)]
    grouped = Grouped(operators)
    y, mask = grouped(x), grouped.mask(6)
    y = torch.where(mask, y, 7.0)  # padding that would count without the mask
    options = {"objective": Objective(penalty="squared", gamma=0.01), "optimiser": SHORT}
    together = recover(prior, grouped, y, mask=mask, chunk=4, **options)
    for g, operator in enumerate(operators):
        rows = slice(3 * g, 3 * g + 3)
        alone = recover(prior, operator, operator(x[rows]), **options)
        assert_close(together.z[rows], alone.z, rtol=0, atol=1e-7)
        assert_close(together.residual[rows], alone.residual, rtol=0, atol=1e-9)


def test_maximum_likelihood_starts_from_images_and_meets_the_measurements():
    prior, operator, x, y = problem()
    for start, image in (("pseudo_inverse", None), ("zero", None), ("image", x)):
        found = recover(
            prior,
            operator,
            y,
            objective=Objective("likelihood"),
            optimiser=LBFGS(mode="strong_wolfe", outer=20, tolerance_grad=1e-5),
            start=Start(start),
            image=image,
        )
        assert (found.residual < 1e-20).all()
        assert found.ends()["converged"] == 5
        assert (prior.log_prob(found.unclamped) >= prior.log_prob(x)).all()


def test_denoising_from_the_noisy_image_begins_without_a_residual():
    prior = TinyFlow()
    noisy = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = recover(
        prior,
        Identity(prior.shape),
        noisy,
        objective=Objective(penalty="squared", gamma=0.05),
        optimiser=SHORT,
        start=Start("image"),
        image=noisy,
    )
    assert_close(found.values[0], 0.05 * found.norms[0].square())
    assert (found.norms[-1] < found.norms[0]).all()
    assert (found.objective < found.values[0]).all()


def test_the_last_point_is_the_published_result():
    prior, operator, _, y = problem(1)
    budget = LBFGS(lr=0.1, outer=2, inner=20)
    found = recover(prior, operator, y, optimiser=budget, point="last")
    z = torch.zeros(1, 12, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([z], lr=0.1)

    def closure():
        optimiser.zero_grad()
        loss = (operator(prior.decode(z)) - y).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimiser.step(closure)
    assert_close(found.z, z.detach(), rtol=0, atol=1e-8)


class Halved:
    """A physics object that shows every second pixel of a row."""

    def A(self, x):
        return x[..., ::2]

    def A_adjoint(self, y):
        x = y.new_zeros(len(y), *SHAPE)
        x[..., ::2] = y
        return x

    A_dagger = A_adjoint


def test_a_recoverer_takes_operators_and_physics():
    prior, operator, x, y = problem()
    run = Recoverer(prior, optimiser=SHORT)
    assert_close(run(y, operator), recover(prior, operator, y, optimiser=SHORT).x)
    physics = Halved()
    prior.float()
    seen = physics.A(x.float())
    assert_close(physics.A(run(seen, physics)), seen.clamp(0, 1), rtol=0, atol=1e-3)


def test_budgets_are_the_published_ones():
    assert BUDGETS["glow_sensing"] == LBFGS(mode="fixed", lr=0.1, outer=30, inner=20, memory=100)
    assert BUDGETS["dcgan"] == LBFGS(mode="fixed", lr=1.0, outer=20, inner=20, memory=100)
    assert BUDGETS["glow_adam"] == Adam(lr=0.01, steps=2000)


def test_what_does_not_fit_is_named():
    prior, operator, _, y = problem()
    with pytest.raises(UserError, match="budget 'glow': expected one of glow_sensing"):
        recover(prior, operator, y, optimiser="glow")
    with pytest.raises(UserError, match="one for each of 5 images; got"):
        recover(prior, operator, y, objective=Objective(gamma=torch.ones(4)))
    with pytest.raises(UserError, match="the form posterior has no penalty, got 'norm'"):
        Objective("posterior", "norm")
    with pytest.raises(UserError, match=r"expected latents \(5, 12\), got \(5, 11\)"):
        recover(prior, operator, y, start=torch.zeros(5, 11))
    with pytest.raises(UserError, match="a chunk of at least one image, got 0"):
        recover(prior, operator, y, chunk=0)
