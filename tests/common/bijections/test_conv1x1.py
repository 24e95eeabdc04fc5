import torch

from common.bijections.conv1x1 import FullConv1x1, LUConv1x1
from common.bijections.permutation import Permutation
from common.bijections.registry import randomise


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(channels=5, seed=2):
    return torch.randn(3, channels, 4, 2, generator=seeded(seed), dtype=torch.float64)


def test_the_lu_convolution_is_a_permutation_and_an_lu_layer_at_every_pixel():
    conv, x = randomise(LUConv1x1(5, seeded())).double(), images()
    pixels = x.movedim(1, -1)
    expected, logdet = conv.lu(Permutation(conv.permutation)(pixels)[0])
    z, total = conv(x)
    torch.testing.assert_close(z, expected.movedim(-1, 1))
    torch.testing.assert_close(total, logdet.sum((1, 2)))


def test_a_new_lu_convolution_permutes():
    conv, x = LUConv1x1(5, seeded()).double(), images()
    assert torch.equal(conv(x)[0], x[:, conv.permutation])
    assert sum(p.numel() for p in conv.parameters()) == 5 * 5 + 5


def test_a_new_full_convolution_rotates():
    conv, x = FullConv1x1(5, seeded()).double(), images()
    z, logdet = conv(x)
    # The rotation is one of float32.
    torch.testing.assert_close(z.norm(dim=1), x.norm(dim=1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet, torch.zeros_like(logdet), rtol=0, atol=1e-5)
    assert not torch.allclose(z, x)


def test_a_loaded_convolution_is_the_saved_one_whatever_its_seed():
    for make in (LUConv1x1, FullConv1x1):
        first, other, x = make(5, seeded(0)).double(), make(5, seeded(1)).double(), images()
        assert not torch.allclose(first(x)[0], other(x)[0])
        other.load_state_dict(first.state_dict())
        assert torch.equal(first(x)[0], other(x)[0])


def test_the_draw_is_a_function_of_the_generator():
    state = torch.random.get_rng_state()
    assert torch.equal(LUConv1x1(9, seeded(3)).permutation, LUConv1x1(9, seeded(3)).permutation)
    assert torch.equal(FullConv1x1(9, seeded(3)).weight, FullConv1x1(9, seeded(3)).weight)
    assert torch.equal(torch.random.get_rng_state(), state)
