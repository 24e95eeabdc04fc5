import pytest
import torch

from common.bijections.conditioners import ResidualConvNet
from common.bijections.coupling import AffineCoupling
from common.bijections.masks import checkerboard
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze


def batch(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def split():
    inner = AffineCoupling(checkerboard((2, 2, 2), 0), ResidualConvNet(2, 3), ResidualConvNet(2, 3))
    generator = torch.Generator().manual_seed(1)
    for parameter in inner.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return OnFirstHalf(inner).double()


def test_a_squeeze_moves_each_block_of_pixels_into_channels():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    z, _ = Squeeze()(x)
    assert z.shape == (1, 4, 2, 2)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert z[0, :, 1, 1].tolist() == [10, 11, 14, 15]


def test_a_squeeze_is_the_space_to_depth_of_torch():
    x = batch(2, 3, 4, 6)
    assert torch.equal(Squeeze()(x)[0], torch.nn.functional.pixel_unshuffle(x, 2))


@pytest.mark.parametrize("shape", [(3, 2, 4, 6), (0, 2, 4, 6), (1, 2, 4, 6), (2, 3, 1, 4, 4)])
def test_squeeze_and_unsqueeze_undo_each_other_and_change_no_volume(shape):
    x = batch(*shape)
    z, logdet = Squeeze()(x)
    assert z.shape == (*shape[:-3], 4 * shape[-3], shape[-2] // 2, shape[-1] // 2)
    for back, term in (Squeeze().inverse_and_logdet(z), Unsqueeze()(z)):
        assert torch.equal(back, x)
        assert torch.equal(term, torch.zeros(shape[:-3], dtype=torch.float64))
    assert torch.equal(Unsqueeze().inverse_and_logdet(x)[0], z)
    assert torch.equal(logdet, torch.zeros(shape[:-3], dtype=torch.float64))


def test_the_jacobian_of_a_squeeze_is_a_permutation():
    x = batch(1, 4, 4)
    jacobian = torch.autograd.functional.jacobian(lambda v: Squeeze()(v)[0], x).reshape(16, 16)
    assert torch.equal(jacobian @ jacobian.T, torch.eye(16, dtype=torch.float64))


def test_a_squeeze_refuses_an_odd_size_and_an_unsqueeze_odd_channels():
    with pytest.raises(ValueError, match="even height and width, got 4 x 3"):
        Squeeze()(batch(1, 1, 4, 3))
    with pytest.raises(ValueError, match="multiple of four channels, got 2"):
        Unsqueeze()(batch(1, 2, 4, 4))


def test_only_the_first_half_of_the_channels_is_transformed(split):
    x = batch(5, 4, 2, 2)
    z, logdet = split(x)
    inner, inner_logdet = split.inner(x[:, :2])
    assert torch.equal(z, torch.cat((inner, x[:, 2:]), dim=1))
    assert torch.equal(logdet, inner_logdet)


def test_the_round_trip_through_a_split_returns_the_input_in_both_directions(split):
    x = batch(5, 4, 2, 2)
    z, logdet = split(x)
    back, inverse_logdet = split.inverse_and_logdet(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_logdet, -logdet)
    torch.testing.assert_close(split(split.inverse_and_logdet(x)[0])[0], x)


def test_the_logdet_of_a_split_is_that_of_autograd(split):
    x = batch(4, 2, 2)
    z, logdet = split(x)
    jacobian = torch.autograd.functional.jacobian(lambda v: split(v)[0], x)
    square = jacobian.reshape(z.numel(), x.numel())
    torch.testing.assert_close(logdet, torch.linalg.slogdet(square).logabsdet)


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_passes_a_split(split, n):
    x = batch(n, 4, 2, 2)
    for result, logdet in (split(x), split.inverse_and_logdet(x)):
        assert result.shape == x.shape
        assert logdet.shape == (n,)


def test_gradients_reach_the_inner_parameters_and_both_halves(split):
    x = batch(5, 4, 2, 2).requires_grad_()
    z, logdet = split(x)
    (z.square().sum() + logdet.sum()).backward()
    assert (x.grad != 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in split.parameters())


def test_a_split_refuses_an_odd_number_of_channels(split):
    with pytest.raises(ValueError, match="even number of channels, got 3"):
        split(batch(1, 3, 2, 2))
