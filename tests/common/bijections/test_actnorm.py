import copy

import pytest
import torch

from common.bijections.actnorm import ActNorm


def batch(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 5


CASES = {"vectors": (ActNorm(4), (50, 4)), "images": (ActNorm(4, event_dims=3), (10, 4, 3, 2))}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    norm, shape = request.param
    return copy.deepcopy(norm).double().train(), shape


def test_the_first_training_batch_comes_out_normalised(case):
    norm, shape = case
    z, _ = norm(batch(*shape))
    channels = z.movedim(1, 0).flatten(1)
    # eps = 1e-6 against a variance of 9.
    torch.testing.assert_close(channels.mean(1), torch.zeros(4, dtype=torch.float64))
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(channels.var(1, correction=0), ones, rtol=1e-6, atol=0)


def test_later_batches_start_nothing(case):
    norm, shape = case
    norm(batch(*shape))
    before = copy.deepcopy(norm.state_dict())
    norm(batch(*shape, seed=1))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_evaluation_the_inverse_and_an_empty_batch_start_nothing(case):
    norm, shape = case
    norm.inverse_and_logdet(batch(*shape))
    norm(batch(0, *shape[1:]))
    norm.eval()(batch(*shape))
    assert not norm.initialised
    assert norm.log_scale.count_nonzero() == 0
    norm.train()(batch(*shape))
    assert norm.initialised


def test_a_loaded_norm_does_not_start_anew(case):
    norm, shape = case
    fresh = copy.deepcopy(norm)
    norm(batch(*shape))
    assert "initialised" in norm.state_dict()
    fresh.load_state_dict(norm.state_dict())
    x = batch(*shape, seed=1)
    assert torch.equal(fresh(x)[0], norm(x)[0])


def test_a_norm_that_loads_an_unstarted_state_starts_again(case):
    norm, shape = case
    unstarted = copy.deepcopy(norm.state_dict())
    norm(batch(*shape))
    norm.load_state_dict(unstarted)
    z, _ = norm(batch(*shape, seed=1))
    torch.testing.assert_close(z.mean(), torch.tensor(0.0, dtype=torch.float64))


def test_the_batch_that_starts_a_norm_trains_it_already(case):
    norm, shape = case
    z, logdet = norm(batch(*shape))
    (z.square().sum() + z.sum() + logdet.sum()).backward()
    for parameter in norm.parameters():
        assert (parameter != 0).all()
        assert (parameter.grad != 0).all()


def test_a_constant_channel_stays_finite():
    z, logdet = ActNorm(2).double().train()(torch.full((8, 2), 3.0, dtype=torch.float64))
    assert z.isfinite().all()
    assert logdet.isfinite().all()


def test_a_channel_of_little_variance_is_divided_by_the_floor():
    x = batch(4000, 2) * torch.tensor([0.01, 1.0], dtype=torch.float64)
    norm = ActNorm(2, minimum_variance=0.2).double().train()
    z, _ = norm(x)
    variance = x.var(0, correction=0)
    expected = torch.stack(((variance[0] / 0.2), torch.ones_like(variance[1])))
    # eps = 1e-6 is added to 0.2 and to a variance of 9.
    torch.testing.assert_close(z.var(0, correction=0), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64))
