import pytest
import torch
from torch.testing import assert_close

from common.errors import UserError
from inverse_problems.recovery import starts
from tests.inverse_problems.recovery.parts import LinearPrior, TinyFlow, gaussian, linear_prior

SHAPE = (1, 3, 4)
LIKE = torch.zeros(1, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_random_starts_are_a_function_of_the_seed():
    prior = linear_prior(SHAPE)
    for draw in (starts.normal, starts.fixed_norm):
        first = draw(4, prior, LIKE, 0.7, seeded())
        assert_close(first, draw(4, prior, LIKE, 0.7, seeded()), rtol=0, atol=0)
        assert (first != draw(4, prior, LIKE, 0.7, seeded(1))).all()
        assert first.dtype == torch.float64


def test_random_starts_have_the_spread_and_the_norm_asked_for():
    prior = linear_prior(SHAPE)
    z = starts.normal(4000, prior, LIKE, 0.7, seeded())
    # 48,000 numbers: four standard errors of a standard deviation are 0.7 * 4 / sqrt(96,000).
    assert abs(z.std().item() - 0.7) < 0.0091
    fixed = starts.fixed_norm(50, prior, LIKE, 30.0, seeded())
    assert_close(fixed.norm(dim=-1), torch.full((50,), 30.0, dtype=torch.float64))
    assert starts.zero(2, prior, LIKE).abs().sum() == 0


def test_an_image_is_what_its_start_decodes_to():
    prior = TinyFlow()
    x = torch.rand(3, *prior.shape, generator=seeded(), dtype=torch.float64)
    assert_close(prior.decode(starts.from_image(prior, x)), x, rtol=0, atol=1e-9)
    operator = gaussian(20, prior.shape)
    z = starts.from_pseudo_inverse(prior, operator, operator(x))
    expected = operator.pseudo_inverse(operator(x)).clamp(0, 1)
    assert_close(prior.decode(z), expected, rtol=0, atol=1e-9)


def test_the_null_space_start_measures_as_the_truth_does_and_is_far_from_it():
    prior, operator = linear_prior(SHAPE), gaussian(5, SHAPE)
    truth = torch.rand(3, *SHAPE, generator=seeded(), dtype=torch.float64)
    x = prior.decode(starts.null_space(prior, operator, truth, seeded(1)))
    assert_close(operator(x), operator(truth), rtol=0, atol=1e-9)
    distance = (x - truth).flatten(1).norm(dim=-1)
    assert_close(distance, torch.full((3,), 5.0, dtype=torch.float64))


def test_starts_that_do_not_exist_are_refused():
    prior, full = linear_prior(SHAPE), gaussian(12, SHAPE)
    truth = torch.rand(2, *SHAPE, dtype=torch.float64)
    with pytest.raises(UserError, match="12 measurements of 12 pixels leave none"):
        starts.null_space(prior, full, truth, seeded())
    with pytest.raises(UserError, match="latents that are not finite"):
        starts.from_image(prior, truth / 0)
    one_way = LinearPrior(torch.randn(12, 3, dtype=torch.float64), SHAPE)
    one_way.invertible = False
    with pytest.raises(UserError, match="LinearPrior is no bijection"):
        starts.from_image(one_way, truth)
