import pytest
import torch

from common.logdet import jacobian
from monotone_flow.images.blocks import set_estimators, set_source, standard_error
from monotone_flow.images.chain import block_flow
from monotone_flow.images.estimators import Exact, NeumannRoulette, PowerSeries, Source
from monotone_flow.images.variational import Condition, VariationalDequantiser
from tests.monotone_flow.images.small import SMALL, normal, seeded, widen

SHAPE = (2, 4, 4)
CIFAR, WIDE = (3, 32, 32), (32, 32, 32)


def make(kind, seed=0):
    dequantiser = VariationalDequantiser(
        SHAPE,
        kind=kind,
        architecture=SMALL,
        blocks=2,
        width=16,
        hidden=16,
        generator=seeded(seed),
        tolerance=1e-12,
        backward_tolerance=1e-11,
        evaluation=Exact(),
    )
    set_source(dequantiser, Source.seeded(1))
    return widen(dequantiser.double()).eval()


@pytest.fixture(params=["residual", "monotone"])
def kind(request):
    return request.param


def pixels(n):
    drawn = torch.randint(0, 256, (n, *SHAPE), generator=seeded())
    return drawn.double()


def count(*models):
    return sum(parameter.numel() for model in models for parameter in model.parameters())


def test_the_published_dequantiser_has_as_many_parameters():
    with torch.device("meta"):
        dequantiser = VariationalDequantiser(CIFAR)
    assert count(dequantiser) == 21_997_218


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({}, 46_891_648),
        ({"blocks": WIDE, "vectors": False}, 66_169_512),
        ({"blocks": WIDE}, 68_977_792),
    ],
    ids=["cifar10", "imagenet32 as commanded", "imagenet32 as printed, 69.0M"],
)
def test_the_published_flows_with_a_dequantiser_have_as_many_parameters(settings, total):
    with torch.device("meta"):
        assert count(block_flow(CIFAR, **settings), VariationalDequantiser(CIFAR)) == total


def test_the_noise_lies_between_zero_and_one_and_depends_on_the_image(kind):
    dequantiser, image = make(kind), pixels(5)
    u = dequantiser(image, seeded(1)).x - image
    assert ((u > 0) & (u < 1)).all()
    other = dequantiser(255 - image, seeded(1)).x - (255 - image)
    assert (u - other).abs().max() > 1e-3


def test_the_density_is_that_of_each_noise_given_its_image(kind):
    dequantiser, image = make(kind), pixels(3)
    u0 = torch.randn((3, *SHAPE), generator=seeded(1), dtype=torch.float64)

    def noise(start):
        """Map u0 to u by the same steps, with the base's draw replaced."""
        h = start
        for block, condition in zip(dequantiser.blocks, dequantiser.conditions, strict=True):
            h, _ = block.forward_and_logdet(h, condition(image / 255))
        return torch.sigmoid(h)

    found = dequantiser(image, seeded(1))
    torch.testing.assert_close(found.x, image + noise(u0))
    logdet = torch.linalg.slogdet(jacobian(noise, u0, 3)).logabsdet
    log_normal = torch.distributions.Normal(0, 1).log_prob(u0).flatten(1).sum(1)
    torch.testing.assert_close(found.log_q, log_normal - logdet, rtol=1e-7, atol=1e-7)


def test_densities_are_one_per_image_and_do_not_mix(kind):
    dequantiser, image = make(kind), pixels(5)
    found = dequantiser(image, seeded(1))
    assert found.x.shape == (5, *SHAPE)
    assert found.log_q.shape == (5,)
    changed = image.clone()
    changed[4] = 255 - changed[4]
    again = dequantiser(changed, seeded(1))
    torch.testing.assert_close(again.log_q[:4], found.log_q[:4])
    assert again.log_q[4] != found.log_q[4]


def test_gradients_reach_every_parameter_with_and_without_memory_saving(kind):
    results = []
    for saving in (True, False):
        dequantiser = make(kind).train()
        set_estimators(dequantiser, training=NeumannRoulette(memory_saving=saving))
        set_source(dequantiser, Source.seeded(1))
        found = dequantiser(pixels(4), seeded(1))
        (found.log_q.mean() + found.x.square().mean()).backward()
        for name, parameter in dequantiser.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        results.append([parameter.grad for parameter in dequantiser.parameters()])
    for a, b in zip(*results, strict=True):
        # Solves for gradients stop at 1e-11 of the largest incoming one, of some hundreds.
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def test_its_standard_error_is_known(kind):
    dequantiser, image = make(kind), pixels(4)
    exact = dequantiser(image, seeded(1)).log_q
    set_estimators(dequantiser, evaluation=PowerSeries(terms=40, probes=24))
    found = dequantiser(image, seeded(1)).log_q
    error = standard_error(dequantiser)
    assert error.shape == (4,)
    assert ((found - exact).abs() < 4 * error).all()


def test_widths_that_cannot_be_grouped_are_refused():
    with pytest.raises(ValueError, match="multiples of 16, got 24, 32"):
        Condition(3, 8, 2, 24, 32)


def test_conditions_have_one_part_per_dense_layer():
    parts = Condition(2, 8, 3, 16, 16).double()(normal(5, *SHAPE))
    assert [part.shape for part in parts] == 3 * [(5, 8, 4, 4)]
