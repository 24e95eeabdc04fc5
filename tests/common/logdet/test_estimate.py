import torch

from common.logdet import Estimate
from tests.common.logdet.nets import normal


def test_the_error_of_a_mean_is_that_of_its_draws():
    draws = normal(10, 3).requires_grad_()
    estimate = Estimate.mean(draws)
    torch.testing.assert_close(estimate.value, draws.mean(0))
    torch.testing.assert_close(estimate.se, draws.detach().std(0) / 10**0.5)
    assert estimate.value.requires_grad
    assert not estimate.se.requires_grad


def test_one_draw_has_an_unknown_error_and_an_exact_value_none():
    assert Estimate.mean(normal(1, 3)).se is None
    assert torch.equal(Estimate.exact(normal(3)).se, torch.zeros(3).double())
