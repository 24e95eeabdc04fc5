import math

import pytest
import torch
from torch import Tensor, nn

from common.bijections import lu
from common.bijections.lu import LULinear, lu_product
from common.bijections.registry import randomise

# Strips of unequal width for matrices too small to be cut otherwise.
UNEVEN = [(0, 2), (2, 3), (3, 6)]


def factors(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The explicit unit lower and the upper triangle of packed factors."""
    eye = torch.eye(packed.shape[-1], dtype=packed.dtype)
    return packed.tril(-1) + eye, packed.triu()


def layer(features: int, models: tuple[int, ...] = ()) -> LULinear:
    made = randomise(LULinear(features, models)).double()
    assert isinstance(made, LULinear)
    return made


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("models", [(), (3,)], ids=["plain", "stacked"])
@pytest.mark.parametrize("features", [1, 2, 5, 223, 224, 230, 337])
def test_packed_factors_multiply_as_the_explicit_ones(features, models):
    linear, x = layer(features, models), normal(*models, 4, features)
    lower, upper = factors(linear.packed)
    z, logdet = linear(x)
    torch.testing.assert_close(z, (x @ upper.mT) @ lower.mT + linear.bias.unsqueeze(-2))
    expected = torch.linalg.slogdet(lower @ upper).logabsdet
    torch.testing.assert_close(logdet, expected.unsqueeze(-1).expand(*models, 4))


@pytest.mark.parametrize("models", [(), (3,)], ids=["plain", "stacked"])
@pytest.mark.parametrize("features", [5, 230, 337])
def test_gradients_are_those_of_the_explicit_factors(features, models):
    linear, x = layer(features, models), normal(*models, 4, features).requires_grad_()
    weights = normal(*models, 4, features, seed=1)
    inputs = [x, linear.packed, linear.bias]
    ours = torch.autograd.grad((weights * linear(x)[0]).sum(), inputs)
    lower, upper = factors(linear.packed)
    z = (x @ upper.mT) @ lower.mT + linear.bias.unsqueeze(-2)
    for mine, reference in zip(ours, torch.autograd.grad((weights * z).sum(), inputs), strict=True):
        torch.testing.assert_close(mine, reference)


def test_images_of_mnist_are_multiplied_in_strips_and_small_matrices_whole():
    strips = lu.strips(784, torch.device("cpu"))
    assert len(strips) == 7
    assert [edge for strip in strips for edge in strip][1:-1:2] == [a for a, _ in strips[1:]]
    assert (strips[0][0], strips[-1][1]) == (0, 784)
    assert lu.strips(64, torch.device("cpu")) == [(0, 64)]
    assert lu.strips(784, torch.device("cuda")) == [(0, 784)]


@pytest.mark.parametrize("strips", [None, UNEVEN], ids=["whole", "strips"])
@pytest.mark.parametrize("models", [(), (3,)], ids=["plain", "stacked"])
def test_the_product_passes_gradcheck(models, strips, monkeypatch):
    if strips is not None:
        monkeypatch.setattr(lu, "strips", lambda features, device: strips)
    linear = layer(6, models)
    x = normal(*models, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lu_product, (x, linear.packed, linear.bias))
    assert torch.autograd.gradgradcheck(lu_product, (x, linear.packed, linear.bias))


def test_the_product_of_real_strips_passes_a_fast_gradcheck():
    linear = layer(230, (2,))
    x = normal(2, 3, 230).requires_grad_()
    inputs = (x, linear.packed, linear.bias)
    assert torch.autograd.gradcheck(lu_product, inputs, fast_mode=True)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_gradients_flow_past_what_needs_none(frozen):
    inputs = [normal(2, 6), layer(6).packed.detach(), normal(6)]
    for i, tensor in enumerate(inputs):
        tensor.requires_grad_(i != frozen)
    assert torch.autograd.gradcheck(lu_product, inputs)


def test_the_product_maps_over_samples_with_torch_func():
    linear, x = layer(5), normal(7, 5)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: linear(v[None])[0][0]))(x)
    lower, upper = factors(linear.packed)
    torch.testing.assert_close(jacobian, (lower @ upper).expand(7, 5, 5))


def test_the_inverse_reads_its_own_triangles_only():
    linear, z = layer(6, (2,)), normal(2, 4, 6)
    lower, upper = factors(linear.packed)
    x, logdet = linear.inverse_and_logdet(z)
    columns = (z - linear.bias.unsqueeze(-2)).mT
    torch.testing.assert_close(x, torch.linalg.solve(lower @ upper, columns).mT)
    torch.testing.assert_close(logdet, -linear(z)[1])
    weights = normal(2, 4, 6, seed=1)
    ours = torch.autograd.grad((weights * x).sum(), linear.packed)[0]
    explicit = torch.linalg.solve(lower @ upper, columns).mT
    reference = torch.autograd.grad((weights * explicit).sum(), linear.packed)[0]
    torch.testing.assert_close(ours, reference)


def test_a_layer_starts_as_the_identity():
    x = normal(3, 4, 6).float()
    linear = LULinear(6, (3,))
    for z, logdet in (linear(x), linear.inverse_and_logdet(x)):
        assert torch.equal(z, x)
        assert torch.equal(logdet, torch.zeros(3, 4))


def test_the_published_model_has_half_of_the_published_parameters():
    features, layers = 784, 4
    model = nn.Sequential(*(LULinear(features) for _ in range(layers)))
    free = sum(p.numel() for p in model.parameters())
    assert free == layers * (features**2 + features) == 2_461_760
    # The published 4.92 million: both factors stored whole, with their zeros and ones.
    assert layers * (2 * features**2 + features) == 4_920_384


def test_one_layer_is_any_gaussian():
    root = torch.tensor([[2.0, 0.0], [-1.5, 0.5]], dtype=torch.float64)
    mean = torch.tensor([3.0, -1.0], dtype=torch.float64)
    inverse = torch.linalg.inv(root)
    linear, diagonal = LULinear(2).double(), inverse.diagonal()
    with torch.no_grad():
        linear.packed.copy_((inverse / diagonal).tril(-1) + diagonal.diag())
        linear.bias.copy_(-inverse @ mean)
    x = normal(5, 2)
    z, logdet = linear(x)
    log_prob = logdet - 0.5 * z.square().sum(-1) - math.log(2 * math.pi)
    expected = torch.distributions.MultivariateNormal(mean, scale_tril=root).log_prob(x)
    torch.testing.assert_close(log_prob, expected)


def test_a_singular_layer_says_so_by_an_infinite_logdet():
    linear = LULinear(3)
    with torch.no_grad():
        linear.packed[1, 1] = 0
    assert linear(torch.zeros(1, 3))[1].item() == -math.inf


def test_the_logdet_ignores_the_signs_of_the_diagonal():
    linear = layer(5)
    flipped = layer(5)
    with torch.no_grad():
        flipped.packed.mul_(-1)
    torch.testing.assert_close(linear(normal(1, 5))[1], flipped(normal(1, 5))[1])


@pytest.mark.parametrize("models", [(), (3,)])
def test_the_frozen_layer_is_the_same_map_both_ways(models):
    layer = LULinear(9, models).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.packed.add_(0.2 * torch.randn(layer.packed.shape, generator=generator))
        layer.bias.normal_(generator=generator)
    x = torch.randn((*models, 5, 9), generator=generator, dtype=torch.float64)
    for name in ("forward_and_logdet", "inverse_and_logdet"):
        expected = getattr(layer, name)(x)
        torch.testing.assert_close(getattr(layer.frozen(), name)(x), expected)
