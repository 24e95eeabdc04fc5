import math

import pytest
import torch
from torch.testing import assert_close

from common.errors import UserError
from inverse_problems.recovery.budgets import LBFGS
from inverse_problems.recovery.lbfgs import lbfgs
from inverse_problems.recovery.objectives import (
    ConstrainedLikelihood,
    ImagePosterior,
    LatentObjective,
    Measurements,
    derived_gamma,
    map_gamma,
    norm_gamma,
    penalty,
)
from inverse_problems.recovery.solved import Status
from inverse_problems.recovery.watch import value_and_gradient
from tests.inverse_problems.recovery.parts import TinyFlow, gaussian, linear_prior

SHAPE = (1, 3, 4)
SEARCH = LBFGS(mode="strong_wolfe", outer=30, tolerance_grad=1e-9, tolerance_change=0.0)


def problem(images=3, m=5, noise=0.0):
    """Return a linear prior, measurements of its samples, and the samples."""
    prior, operator = linear_prior(SHAPE), gaussian(m, SHAPE)
    generator = torch.Generator().manual_seed(2)
    truth = prior.decode(torch.randn(images, 12, generator=generator, dtype=torch.float64))
    y = operator(truth)
    y = y + noise * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return prior, Measurements(operator, y.detach()), truth.detach()


def random(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["none", "norm", "squared", "absolute"])
def test_values_are_sums_over_measurements_plus_the_penalty(kind):
    prior, data, _ = problem()
    z, gamma = random(3, 12), torch.tensor([0.0, 0.3, 2.0], dtype=torch.float64)
    values = LatentObjective(prior.decode, data, gamma, kind)(z)
    for i in range(3):
        residual = data.operator.matrix @ prior.decode(z[i : i + 1]).flatten() - data.y[i]
        expected = sum(entry**2 for entry in residual.tolist())
        entries = z[i].tolist()
        expected += (
            gamma[i].item()
            * {
                "none": 0.0,
                "norm": math.hypot(*entries),
                "squared": sum(e**2 for e in entries),
                "absolute": sum(map(abs, entries)),
            }[kind]
        )
        assert math.isclose(values[i].item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_norm_has_no_gradient_at_zero_and_spoils_none(gamma):
    prior, data, _ = problem()
    z = torch.zeros(3, 12, dtype=torch.float64)
    plain = LatentObjective(prior.decode, data, torch.tensor(0.0), "none")
    with_norm = LatentObjective(prior.decode, data, torch.tensor(gamma).double(), "norm")
    assert_close(value_and_gradient(with_norm, z), value_and_gradient(plain, z))
    assert penalty(z, "norm").tolist() == [0.0] * 3


def test_what_is_not_measured_does_not_count_even_if_it_is_no_number():
    prior, data, _ = problem()
    z, mask = random(3, 12), torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [0] * 5]).bool()
    y = torch.where(mask, data.y, torch.nan)
    values = LatentObjective(prior.decode, Measurements(data.operator, y, mask), torch.tensor(0.0))
    value, grad = value_and_gradient(values, z)
    difference = (data.operator(prior.decode(z)) - data.y).square()
    assert_close(value, (difference * mask).sum(-1).detach())
    assert value[2] == 0
    assert grad.isfinite().all()
    part, rows = torch.tensor([1, 0]), mask[0]
    assert_close(values.take(part)(z[part]), value[part], check_dtype=True)
    shared = Measurements(data.operator, data.y, rows)
    assert_close(
        shared.take(part).residual(prior.decode(z[part])), (difference * rows).sum(-1)[part]
    )


def test_gamma_of_each_image_follows_it_into_a_smaller_batch():
    prior, data, _ = problem()
    z, gamma, rows = random(3, 12), torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2, 0])
    for values in (
        LatentObjective(prior.decode, data, gamma, "squared"),
        ImagePosterior(prior, data, gamma),
        ConstrainedLikelihood(prior, data),
    ):
        assert_close(values.take(rows)(z[rows]), values(z)[rows])


def test_the_derived_gammas_say_the_same_in_all_conventions():
    # For a linear prior the posterior is Gaussian: its mean is the minimum of F5, F4 and F2 alike.
    sigma = 0.2
    prior, data, _ = problem(noise=sigma)
    g = prior.matrix.detach()
    a = data.operator.matrix @ g
    offset = data.operator.matrix.sum(1) / 2
    hessian = a.T @ a / sigma**2 + torch.eye(12, dtype=torch.float64)
    mean = torch.linalg.solve(hessian, a.T @ (data.y - offset).T / sigma**2).T

    z0 = 0.1 * random(3, 12)
    f5 = LatentObjective(prior.decode, data, derived_gamma(sigma).double(), "squared")
    assert_close(lbfgs(f5, z0, SEARCH).z, mean, rtol=0, atol=1e-6)
    f4 = LatentObjective(prior.decode, data, norm_gamma(sigma, mean.norm(dim=-1)), "norm")
    assert_close(lbfgs(f4, z0, SEARCH).z, mean, rtol=0, atol=1e-6)
    # The log-determinant of a linear map is a constant, so here F2 has that minimum as well.
    f2 = ImagePosterior(prior, data, map_gamma(sigma).double())
    assert_close(lbfgs(f2, z0, SEARCH).z, mean, rtol=0, atol=1e-6)


def test_the_image_space_objective_contains_the_log_determinant_of_a_flow():
    prior = TinyFlow()
    operator = gaussian(10, prior.shape)
    data = Measurements(operator, random(2, 10))
    z = random(2, 64)
    gamma = torch.tensor([0.5, 4.0], dtype=torch.float64)
    x = prior.decode(z)
    for i in range(2):
        jacobian = torch.func.jacrev(lambda v: prior.decode(v[None])[0].flatten())(z[i])
        log_p = -0.5 * (z[i].square().sum() + 64 * math.log(2 * math.pi))
        log_p = log_p - torch.linalg.slogdet(jacobian).logabsdet
        expected = gamma[i] * (operator(x[i]) - data.y[i]).square().sum() - log_p
        assert_close(ImagePosterior(prior, data, gamma)(z)[i], expected, rtol=1e-9, atol=0)


def test_maximum_likelihood_of_a_linear_prior_is_the_conditional_mean():
    prior, data, truth = problem(m=5)
    values = ConstrainedLikelihood(prior, data)
    # The density has a curvature of up to 400, so gradients are known to 1e-9 at best.
    search = LBFGS(mode="strong_wolfe", outer=30, tolerance_grad=1e-6, tolerance_change=0.0)
    solved = lbfgs(values, data.operator.pseudo_inverse(data.y).flatten(1), search)
    x = values.image(solved.z).flatten(1)
    g, a = prior.matrix.detach(), data.operator.matrix
    sigma = g @ g.T
    gain = sigma @ a.T @ torch.linalg.inv(a @ sigma @ a.T)
    expected = 0.5 + ((truth.flatten(1) - 0.5) @ a.T) @ gain.T
    assert (solved.status == Status.CONVERGED).all()
    assert_close(x, expected, rtol=0, atol=1e-6)
    assert_close(x @ a.T, data.y, rtol=0, atol=1e-12)


def test_maximum_likelihood_under_a_flow_stays_on_the_constraint_and_climbs():
    prior = TinyFlow()
    operator = gaussian(20, prior.shape)
    truth = prior.decode(0.7 * random(2, 64)).detach()
    data = Measurements(operator, operator(truth))
    values = ConstrainedLikelihood(prior, data)
    start = operator.pseudo_inverse(data.y).flatten(1)
    solved = lbfgs(values, start, LBFGS(mode="strong_wolfe", outer=5, tolerance_grad=1e-6))
    x = values.image(solved.z)
    assert_close(operator(x), data.y, rtol=0, atol=1e-10)
    assert (prior.log_prob(x) > prior.log_prob(truth)).all()


def test_shapes_that_do_not_fit_are_named():
    _, data, _ = problem()
    with pytest.raises(UserError, match=r"expected \(images, 5\), got \(3, 4\)"):
        Measurements(data.operator, data.y[:, :4])
    with pytest.raises(UserError, match="mask of measurements: expected"):
        Measurements(data.operator, data.y, torch.ones(3).bool())
    masked = Measurements(data.operator, data.y, torch.ones(5).bool())
    with pytest.raises(UserError, match="without a mask"):
        ConstrainedLikelihood(linear_prior(SHAPE), masked)
