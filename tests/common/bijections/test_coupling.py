import copy

import pytest
import torch
from torch import nn

from common.bijections.conditioners import MLP, ResidualConvNet
from common.bijections.coupling import AffineCoupling
from common.bijections.masks import alternating, channel, checkerboard

SHAPE = (2, 4, 4)


def vector(parity=0):
    return AffineCoupling(alternating(5, parity), MLP(5, 8), MLP(5, 8))


def image(parity=0, mask=checkerboard):
    return AffineCoupling(mask(SHAPE, parity), ResidualConvNet(2, 4), ResidualConvNet(2, 4))


COUPLINGS = {
    "vector": (vector, (5,)),
    "checkerboard": (image, SHAPE),
    "channel": (lambda: image(parity=1, mask=channel), SHAPE),
}


def randomised(make):
    """Return the coupling in float64, moved away from its identity start."""
    generator = torch.Generator().manual_seed(1)
    coupling = make().double()
    for parameter in coupling.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return coupling


def batch(n, event, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *event, generator=generator, dtype=torch.float64)


@pytest.fixture(params=COUPLINGS.values(), ids=COUPLINGS)
def case(request):
    make, event = request.param
    return randomised(make), event


def test_the_round_trip_returns_the_input_in_both_directions(case):
    coupling, event = case
    x = batch(6, event)
    z, logdet = coupling.forward_and_logdet(x)
    back, inverse_logdet = coupling.inverse_and_logdet(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_logdet, -logdet)
    torch.testing.assert_close(coupling(coupling.inverse_and_logdet(x)[0])[0], x)


def test_the_logdet_is_that_of_autograd(case):
    coupling, event = case
    for x in batch(3, event):
        z, logdet = coupling(x)
        jacobian = torch.autograd.functional.jacobian(lambda v: coupling(v)[0], x)
        square = jacobian.reshape(z.numel(), x.numel())
        torch.testing.assert_close(logdet, torch.linalg.slogdet(square).logabsdet)
        assert logdet.abs() > 1e-3  # the randomised map does scale


def test_what_the_mask_keeps_is_untouched_and_the_rest_changes(case):
    coupling, event = case
    x = batch(6, event)
    z, _ = coupling(x)
    kept = coupling.mask.bool().expand_as(x)
    assert torch.equal(z[kept], x[kept])
    assert (z[~kept] != x[~kept]).all()


def test_gradients_reach_every_parameter(case):
    coupling, event = case
    z, logdet = coupling(batch(6, event))
    (z.square().sum() + logdet.sum()).backward()
    for name, parameter in coupling.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_works(case, n):
    coupling, event = case
    x = batch(n, event)
    for result, logdet in (coupling(x), coupling.inverse_and_logdet(x)):
        assert result.shape == x.shape
        assert logdet.shape == (n,)
    torch.testing.assert_close(coupling(batch(4, event)[:n])[0], coupling(batch(4, event))[0][:n])


def test_leading_dimensions_are_all_batch(case):
    coupling, event = case
    x = batch(6, event)
    z, logdet = coupling(x)
    stacked_z, stacked_logdet = coupling(x.reshape(2, 3, *event))
    torch.testing.assert_close(stacked_z, z.reshape(2, 3, *event))
    torch.testing.assert_close(stacked_logdet, logdet.reshape(2, 3))


@pytest.mark.parametrize("size", [1e-30, 1e6])
def test_extreme_inputs_stay_finite_in_float32(case, size):
    coupling, event = case
    x = size * batch(6, event).float()
    for result, logdet in (coupling.float()(x), coupling.inverse_and_logdet(x)):
        assert result.isfinite().all()
        assert logdet.isfinite().all()


def test_a_loaded_coupling_computes_the_same(case, tmp_path):
    coupling, event = case
    torch.save(coupling.state_dict(), tmp_path / "coupling.pt")
    fresh = copy.deepcopy(coupling)
    for parameter in fresh.parameters():
        nn.init.zeros_(parameter)
    fresh.load_state_dict(torch.load(tmp_path / "coupling.pt", weights_only=True))
    x = batch(6, event)
    assert torch.equal(fresh(x)[0], coupling(x)[0])


@pytest.mark.parametrize(("make", "event"), COUPLINGS.values(), ids=COUPLINGS)
def test_a_new_coupling_is_exactly_the_identity(make, event):
    x = batch(6, event).float()
    z, logdet = make()(x)
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(6))


def test_the_scale_of_a_checkerboard_coupling_is_that_of_the_formula():
    coupling, x = randomised(image), batch(2, SHAPE)
    m = coupling.mask
    s = coupling.s_scale * coupling.s_net(m * x).tanh()
    t = coupling.t_scale * coupling.t_net(m * x) + coupling.t_bias
    torch.testing.assert_close(coupling(x)[0], m * x + (1 - m) * (x * s.exp() + t))
    torch.testing.assert_close(coupling(x)[1], ((1 - m) * s).sum(dim=(1, 2, 3)))


def test_masks_of_both_parities_are_complements():
    for mask in (checkerboard, channel):
        assert torch.equal(mask(SHAPE, 0) + mask(SHAPE, 1), torch.ones(SHAPE))
        assert torch.equal(mask(SHAPE, 2), mask(SHAPE, 0))
    assert torch.equal(alternating(5, 0) + alternating(5, 1), torch.ones(5))


def test_masks_keep_what_they_say():
    assert checkerboard((1, 2, 3), 0).tolist() == [[[1, 0, 1], [0, 1, 0]]]
    assert channel((2, 1, 1), 0).flatten().tolist() == [1, 0]
    assert alternating(3, 1).tolist() == [0, 1, 0]


def test_a_channel_mask_refuses_an_odd_number_of_channels():
    with pytest.raises(ValueError, match="even number of channels, got 3"):
        channel((3, 4, 4), 0)
