import pytest
import torch

from common.bijections.batch_norm import RunningBatchNorm

EVENTS = {"vector": (3,), "image": (2, 3, 4)}


def batch(n, event, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, *event, generator=generator, dtype=torch.float64) - 2


def norm_for(event, **options):
    return RunningBatchNorm(event[0], len(event), **options).double()


def settled(event):
    """Return a norm in evaluation mode whose statistics are neither 0 nor 1."""
    norm = norm_for(event, momentum=0.3)
    norm(batch(8, event, seed=5))
    return norm.eval()


@pytest.fixture(params=EVENTS.values(), ids=EVENTS)
def event(request):
    return request.param


def test_the_round_trip_returns_the_input_in_both_directions(event):
    norm, x = settled(event), batch(6, event)
    z, logdet = norm(x)
    back, inverse_logdet = norm.inverse_and_logdet(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_logdet, -logdet)
    torch.testing.assert_close(norm(norm.inverse_and_logdet(x)[0])[0], x)


def test_the_logdet_is_that_of_autograd(event):
    norm, x = settled(event), batch(1, event)[0]
    z, logdet = norm(x)
    jacobian = torch.autograd.functional.jacobian(lambda v: norm(v)[0], x)
    square = jacobian.reshape(z.numel(), x.numel())
    torch.testing.assert_close(logdet, torch.linalg.slogdet(square).logabsdet)
    assert logdet.abs() > 1e-3


def test_training_moves_the_statistics_by_the_momentum_and_then_uses_them(event):
    norm, x = norm_for(event, momentum=0.25), batch(6, event)
    z, _ = norm(x)
    channels = x.movedim(1, 0).flatten(1)
    mean = 0.25 * channels.mean(1)
    var = 0.75 + 0.25 * channels.var(1, correction=0)
    torch.testing.assert_close(norm.mean.flatten(), mean)
    torch.testing.assert_close(norm.var.flatten(), var)
    expected = (channels - mean[:, None]) / (var[:, None] + 1e-5).sqrt()
    torch.testing.assert_close(z.movedim(1, 0).flatten(1), expected)


def test_the_statistics_reach_those_of_the_data(event):
    norm, x = norm_for(event, momentum=0.05), batch(50, event)
    for _ in range(400):  # 0.95^400 is 1e-9: nothing is left of the start
        norm(x)
    z, _ = norm(x)
    channels = z.movedim(1, 0).flatten(1)
    torch.testing.assert_close(
        channels.mean(1), torch.zeros_like(channels[:, 0]), atol=1e-7, rtol=0
    )
    # eps = 1e-5 beside a variance of about 9 lowers the result by about 1e-6.
    torch.testing.assert_close(
        channels.var(1, correction=0), torch.ones_like(channels[:, 0]), atol=1e-5, rtol=0
    )


def test_the_defaults_are_those_of_the_published_comparison():
    norm = RunningBatchNorm(3)
    assert (norm.momentum, norm.eps) == (0.005, 1e-5)


def test_evaluation_and_inversion_change_no_statistics(event):
    norm, x = settled(event), batch(6, event)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    first = norm(x)[0]
    assert torch.equal(norm(x)[0], first)
    norm.train()
    norm.inverse_and_logdet(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_an_event_is_mapped_alike_in_every_batch(event):
    norm, x = settled(event), batch(6, event)
    # equal up to the order of the arithmetic, which vector width may change
    torch.testing.assert_close(norm(x[:2])[0], norm(x)[0][:2])


def test_the_update_takes_no_part_in_the_gradient(event):
    norm, x = norm_for(event, momentum=0.5), batch(6, event).requires_grad_()
    z, logdet = norm(x)
    z.sum().backward()
    slope = (norm.var + norm.eps).rsqrt().expand_as(x)
    torch.testing.assert_close(x.grad, slope)
    assert not logdet.requires_grad
    assert not norm.mean.requires_grad


def test_two_forward_passes_may_precede_one_backward_pass(event):
    norm, x = norm_for(event, momentum=0.5), batch(6, event).requires_grad_()
    first, second = norm(x)[0], norm(x)[0]
    (first.square().sum() + second.square().sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_leaves_finite_statistics(event, n):
    norm, x = norm_for(event), batch(n, event)
    z, logdet = norm(x)
    assert z.shape == x.shape
    assert logdet.shape == (n,)
    assert all(value.isfinite().all() for value in norm.state_dict().values())
    torch.testing.assert_close(norm.inverse_and_logdet(z)[0], x)


def test_an_empty_batch_moves_no_statistics(event):
    norm = norm_for(event)
    norm(batch(0, event))
    assert torch.equal(norm.mean, torch.zeros_like(norm.mean))
    assert torch.equal(norm.var, torch.ones_like(norm.var))


def test_a_single_event_without_a_batch_dimension_works(event):
    norm, x = norm_for(event), batch(1, event)[0]
    z, logdet = norm(x)
    assert z.shape == event
    assert logdet.shape == ()
    assert norm.var.isfinite().all()


def test_constant_channels_and_extreme_inputs_stay_finite_in_float32(event):
    for value in (0.0, 1e-30, 1e6, -1e6):
        norm = norm_for(event, momentum=1.0).float()
        z, logdet = norm(torch.full((4, *event), value))
        assert z.isfinite().all()
        assert logdet.isfinite().all()


def test_a_loaded_norm_computes_the_same(event, tmp_path):
    norm, x = settled(event), batch(6, event)
    torch.save(norm.state_dict(), tmp_path / "norm.pt")
    fresh = norm_for(event).eval()
    fresh.load_state_dict(torch.load(tmp_path / "norm.pt", weights_only=True))
    assert torch.equal(fresh(x)[0], norm(x)[0])
    assert torch.equal(fresh(x)[1], norm(x)[1])
