import math
from pathlib import Path

import pytest
import torch

from common.bijections.base import Chain
from common.bijections.elementwise import Logit, Rescale
from common.metrics import likelihood as lik

RAW = Path(__file__).parents[3] / "data" / "raw"
LEVELS, MARGIN = 256, 1e-5


def gaussian_pixels(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels whose logits are a known Gaussian, their exact log-densities, and its covariance."""
    generator = torch.Generator().manual_seed(0)
    root = torch.tensor([[1.5, 0, 0], [0.6, 0.8, 0], [-1.0, 0.3, 0.5]], dtype=torch.float64)
    mean = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64)
    t = mean + torch.randn(n, 3, generator=generator, dtype=torch.float64) @ root.mT
    normal = torch.distributions.MultivariateNormal(mean, scale_tril=root)
    pixels, logdet = Chain([Rescale(LEVELS), Logit(MARGIN)]).inverse_and_logdet(t)
    return pixels, normal.log_prob(t) - logdet, root @ root.mT


def test_a_gaussian_in_logit_space_scores_its_entropy():
    pixels, log_prob, covariance = gaussian_pixels(20_000)
    bpd = lik.bits_per_dim(-log_prob, 3)
    h = lik.logit_space(bpd, lik.logit_offset(pixels, LEVELS, MARGIN))
    entropy = 0.5 * (3 * math.log(2 * math.pi * math.e) + torch.logdet(covariance).item())
    mean, se = lik.mean_and_se(h)
    assert abs(mean - entropy / (3 * math.log(2))) < 4 * se
    assert se < 0.01


def test_the_offset_is_the_jacobian_of_the_preprocessing():
    pixels, log_prob, _ = gaussian_pixels(100)
    t, logdet = Chain([Rescale(LEVELS), Logit(MARGIN)]).forward_and_logdet(pixels)
    in_logit_space = lik.bits_per_dim(-(log_prob - logdet), 3)
    h = lik.logit_space(lik.bits_per_dim(-log_prob, 3), lik.logit_offset(pixels, LEVELS, MARGIN))
    # Rounding of logits of size 10 and sums of 3 terms in float64.
    torch.testing.assert_close(h, in_logit_space, rtol=1e-12, atol=1e-12)
    assert t.shape == pixels.shape


@pytest.mark.parametrize(
    ("to", "back"),
    [
        (lik.lu_net_units, lik.from_lu_net_units),
        (lik.realnvp_units, lik.from_realnvp_units),
        (lambda v: lik.logit_space(v, -0.492), lambda v: lik.standard(v, -0.492)),
    ],
    ids=["lu_net_units", "realnvp_units", "logit_space"],
)
def test_every_conversion_has_an_inverse(to, back):
    for value in (0.0, 3.2424, -1.5, 1e3):
        # Two roundings at magnitude 1e3: 2 * 1e3 * 1.1e-16.
        assert back(to(value)) == pytest.approx(value, abs=2.3e-13)
        assert to(back(value)) == pytest.approx(value, abs=2.3e-13)
    values = torch.tensor([1.0, 2.5], dtype=torch.float64)
    torch.testing.assert_close(back(to(values)), values, rtol=1e-14, atol=0)


def test_the_published_cells_become_standard_bits_per_dimension():
    # papers' printed numbers with the offsets of all MNIST test images, to the digits they have.
    assert lik.standard(lik.from_lu_net_units(3.2424), -0.492) == pytest.approx(3.250, abs=5e-4)
    assert lik.standard(lik.from_realnvp_units(5.6819), 3.703) == pytest.approx(1.390, abs=1e-3)


def test_the_lu_net_print_differs_by_the_constant_it_forgets():
    h = 2.0
    nats = h * math.log(2) - 0.5 * math.log(2 * math.pi) + 0.5 * math.log(math.pi)
    assert lik.lu_net_units(h) == pytest.approx(nats / math.log(2), abs=1e-14)


def test_bits_per_dim_of_a_uniform_density_over_the_levels_is_the_bits_of_a_level():
    nats = torch.full((2, 3), 784 * math.log(256))
    assert lik.bits_per_dim(nats, 784).tolist() == [[pytest.approx(8, rel=1e-6)] * 3] * 2


def test_a_uniform_pixel_has_the_offset_of_its_logit():
    # E[log2 s (1-s)] of a uniform s is -2 / ln 2; the margin takes at most its own width from it.
    x = (torch.arange(100_000, dtype=torch.float64) + 0.5) * 16 / 100_000
    offset = lik.logit_offset(x, 16, 1e-6).item()
    assert offset == pytest.approx(4 - 2 / math.log(2), abs=1e-4)


def test_the_offset_is_finite_at_both_ends_also_in_float32():
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([[0.0, 256.0], [0.0, 0.0]], dtype=dtype)
        offset = lik.logit_offset(ends, 256, 1e-5)
        assert offset.dtype == torch.float64
        # Both ends have the same s (1 - s).
        torch.testing.assert_close(offset[0], offset[1], rtol=1e-12, atol=0)


def test_the_offset_keeps_every_batch_dimension_and_takes_an_empty_batch():
    assert lik.logit_offset(torch.ones(2, 3, 5), 17, 1e-5).shape == (2, 3)
    assert lik.logit_offset(torch.ones(0, 5), 17, 1e-5).shape == (0,)


@pytest.mark.parametrize("value", [-0.1, 17.1, math.nan])
def test_values_outside_of_the_levels_are_refused(value):
    with pytest.raises(ValueError, match=r"values in \[0, 17\]"):
        lik.logit_offset(torch.tensor([[1.0, value]]), 17, 1e-5)


def test_other_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least one dimension, got 0"):
        lik.bits_per_dim(torch.ones(1), 0)
    with pytest.raises(ValueError, match="margin in"):
        lik.logit_offset(torch.ones(1, 1), 17, 1.0)
    with pytest.raises(ValueError, match="values \\(N,\\), got shape \\(0,\\)"):
        lik.mean_and_se(torch.ones(0))
    with pytest.raises(ValueError, match="values \\(R, N\\), got shape \\(3,\\)"):
        lik.mean_and_se_of_draws(torch.ones(3))


def test_the_standard_error_is_the_textbook_one_in_float64():
    mean, se = lik.mean_and_se(torch.tensor([1.0, 2.0, 4.0, 9.0]))
    assert mean == 4.0
    assert se == pytest.approx(math.sqrt((9 + 4 + 0 + 25) / 3 / 4), rel=1e-15)
    # A float32 sum of a million numbers near 1e4 would be off in the fifth digit.
    assert lik.mean_and_se(torch.full((1_000_000,), 1e4 + 0.5)) == (1e4 + 0.5, 0.0)


def test_one_value_has_no_standard_error():
    mean, se = lik.mean_and_se(torch.tensor([3.0]))
    assert mean == 3.0
    assert math.isnan(se)


def test_draws_of_an_item_do_not_count_as_independent_items():
    generator = torch.Generator().manual_seed(1)
    items = torch.randn(50, generator=generator, dtype=torch.float64)
    noise = 0.01 * torch.randn(40, 50, generator=generator, dtype=torch.float64)
    values = items + noise
    mean, se = lik.mean_and_se_of_draws(values)
    assert mean == pytest.approx(values.mean().item(), rel=1e-12)
    # The noise is negligible beside the items: the error is that of 50 items, not of 2,000 values.
    assert se == pytest.approx(lik.mean_and_se(items)[1], rel=0.01)
    assert se > 5 * lik.mean_and_se(values.flatten())[1]


@pytest.mark.slow
@pytest.mark.skipif(not (RAW / "mnist").is_dir(), reason="data/raw/mnist is not there")
def test_mnist_has_the_known_offset_and_gaussian_likelihood():
    from common.datasets import load

    data = load("mnist", RAW, valid_per_class=0)
    generator = torch.Generator().manual_seed(0)

    def dequantised(images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(1).double()
        return x + torch.rand(x.shape, generator=generator, dtype=torch.float64)

    preprocess = Chain([Rescale(256), Logit(MARGIN)])
    total = torch.zeros(784, dtype=torch.float64)
    squares = torch.zeros(784, 784, dtype=torch.float64)
    for images in data.train.x.split(10_000):
        t = preprocess.forward_and_logdet(dequantised(images))[0]
        total += t.sum(0)
        squares += t.mT @ t
    n = len(data.train)
    mean = total / n
    covariance = squares / n - mean.outer(mean)
    normal = torch.distributions.MultivariateNormal(mean, covariance)
    pixels = dequantised(data.test.x)
    t, logdet = preprocess.forward_and_logdet(pixels)
    bpd = lik.bits_per_dim(-(normal.log_prob(t) + logdet), 784)
    offset = lik.logit_offset(pixels, 256, MARGIN)
    # The tolerances cover one noise draw in place of three.
    assert lik.mean_and_se(offset)[0] == pytest.approx(-0.492, abs=0.002)
    assert lik.mean_and_se(bpd)[0] == pytest.approx(2.0014, abs=0.003)
    h = lik.mean_and_se(lik.logit_space(bpd, offset))[0]
    assert h == pytest.approx(2.4949, abs=0.005)
    assert lik.lu_net_units(h) == pytest.approx(1.995, abs=0.005)
