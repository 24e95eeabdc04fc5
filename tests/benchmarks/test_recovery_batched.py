import torch
from torch.testing import assert_close

from benchmarks.cases.recovery_batched import Convolutions, make_prior, one_by_one
from common.training.seeding import generator
from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.recovery.budgets import LBFGS
from inverse_problems.recovery.recover import recover

SHAPE = (1, 8, 8)


def test_both_sides_end_at_the_same_latents():
    prior = make_prior(SHAPE, width=8, steps=1).double()
    operator = GaussianOperator(SHAPE, 26, generator(0, 1), torch.float64)
    x = prior.decode(torch.randn(3, 64, generator=generator(0, 2), dtype=torch.float64))
    budget = LBFGS(lr=0.1, outer=2, inner=8)
    y = operator(x).detach()
    ours = recover(prior, operator, y, optimiser=budget, point="last")
    assert_close(one_by_one(prior, operator, y, budget)(), ours.z, rtol=0, atol=1e-7)
    assert (ours.residual < 0.5 * ours.values[0]).all()


def test_the_products_of_convolutions_are_those_of_their_kernels():
    x = torch.zeros(5, 3, 6, 6)
    with Convolutions() as seen:
        torch.nn.Conv2d(3, 7, 3, padding=1)(x)
        torch.nn.functional.conv2d(x, torch.zeros(2, 3, 1, 1))
    assert [(p.m, p.k, p.n) for p in seen.products] == [(180, 27, 7), (180, 3, 2)]
