import dataclasses

import pytest
import torch
from torch.testing import assert_close

from common.errors import UserError
from inverse_problems.recovery.starts import Start, encode
from tests.inverse_problems.recovery.parts import TinyFlow, gaussian, linear_prior

SHAPE = (1, 3, 4)
PRIOR, OPERATOR = linear_prior(SHAPE), gaussian(5, SHAPE)


def images(count, shape=SHAPE):
    return torch.rand(
        count, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def draw(start, count=4, restart=0, image=None, dtype=torch.float64):
    return start.draw(restart, PRIOR, OPERATOR, torch.zeros(count, 5, dtype=dtype), image)


@pytest.mark.parametrize("kind", ["normal", "norm", "null_space"])
def test_random_starts_are_a_function_of_seed_and_restart(kind):
    start, x = Start(kind, size=0.7), images(4)
    first = draw(start, image=x)
    assert_close(first, draw(start, image=x), rtol=0, atol=0)
    assert (first != draw(start, image=x, restart=1)).any(-1).all()
    assert (first != draw(dataclasses.replace(start, seed=1), image=x)).any(-1).all()


@pytest.mark.parametrize("kind", ["normal", "norm"])
def test_starts_agree_in_all_precisions(kind):
    start = Start(kind, size=0.7)
    assert_close(draw(start, dtype=torch.float32).double(), draw(start), rtol=1e-6, atol=1e-6)


def test_random_starts_have_the_spread_and_the_norm_asked_for():
    # 48,000 numbers: four standard errors of a standard deviation are 0.7 * 4 / sqrt(96,000).
    assert abs(draw(Start("normal", size=0.7), 4000).std().item() - 0.7) < 0.0091
    fixed = draw(Start("norm", size=30.0), 50)
    assert_close(fixed.norm(dim=-1), torch.full((50,), 30.0, dtype=torch.float64))
    assert_close(draw(Start()), torch.zeros(4, 12, dtype=torch.float64))


def test_an_image_is_what_its_start_decodes_to():
    prior = TinyFlow()
    x = images(3, prior.shape)
    operator = gaussian(20, prior.shape)
    y = operator(x)
    given = Start("image").draw(0, prior, operator, y, x)
    assert_close(prior.decode(encode(prior, given, chunk=2)), x, rtol=0, atol=1e-9)
    guess = Start("pseudo_inverse").draw(0, prior, operator, y, None)
    assert_close(guess, operator.pseudo_inverse(y).clamp(0, 1))


def test_the_null_space_start_measures_as_the_truth_does_and_is_far_from_it():
    truth = images(3)
    x = draw(Start("null_space", size=5.0), 3, image=truth)
    assert_close(OPERATOR(x), OPERATOR(truth), rtol=0, atol=1e-9)
    distance = (x - truth).flatten(1).norm(dim=-1)
    assert_close(distance, torch.full((3,), 5.0, dtype=torch.float64))


def test_starts_that_do_not_exist_are_refused():
    truth, full = images(2), gaussian(12, SHAPE)
    with pytest.raises(UserError, match="12 measurements of 12 pixels leave none"):
        Start("null_space", size=5.0).draw(0, PRIOR, full, full(truth), truth)
    with pytest.raises(UserError, match="latents that are not finite"):
        encode(PRIOR, truth / 0, chunk=2)
    one_way = linear_prior(SHAPE)
    one_way.invertible = False
    with pytest.raises(UserError, match="LinearPrior is no bijection"):
        encode(one_way, truth, chunk=2)
    with pytest.raises(UserError, match=r"expected images \(4, 1, 3, 4\), got \(2, 1, 3, 4\)"):
        draw(Start("image"), 4, image=truth)
