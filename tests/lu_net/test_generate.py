from typing import Any

import pytest
import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.datasets.mixture import GaussianMixture
from lu_net.batches import Items
from lu_net.config import Model, Train
from lu_net.evaluate import batches
from lu_net.generate import decode, generate, grid_density
from lu_net.latents import FittedGaussian
from lu_net.model import Bank, Stack
from lu_net.protocol import Evaluate
from tests.lu_net.invented import EVALUATE, LEVELS, LU_NET, SHAPE, SIZES, images, model, points

CPU = torch.device("cpu")
VECTORS = Train(Model("lu_net", per_class=False, layers=2), dtype="float64")


def generated(
    bank: Bank, data: Dataset, trained: Train = LU_NET, cfg: Evaluate = EVALUATE
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    train, test = (
        Items.of(data, split, trained.model.per_class, CPU) for split in (data.train, data.test)
    )
    with torch.no_grad():
        chunks = [(bank.encode(x).flatten(2), w) for x, w in batches(train, trained, 1, 2)]
        generate(bank, trained, cfg, test, FittedGaussian.of(chunks), metrics, arrays)
    return metrics, arrays


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("gaussian", "float32"),
        ("lu_net", "float32"),
        ("lu_net", "float64"),
        ("realnvp", "float32"),
    ],
)
def test_interpolations_end_in_the_test_images(kind: Any, dtype: Any):
    data = images(shape=(1, 4, 4))
    trained = Train(Model(kind, layers=2, planes=2, final=1), dtype=dtype)
    metrics, arrays = generated(model(trained, data), data, trained)
    line, test = arrays["interpolation"], arrays["test"]
    assert line.shape == (len(SIZES), EVALUATE.steps, 1, 4, 4)
    assert line.dtype == torch.uint8
    first = torch.stack([data.test.x[data.test.y == k][0] for k in range(len(SIZES))])
    assert torch.equal(line[:, 0], first)
    assert torch.equal(line[:, -1], first.roll(-1, 0))
    assert torch.equal(test[:, 0], first)
    assert metrics["decoding_failures"] == {}


def test_one_model_of_all_classes_interpolates_between_two_images():
    data = images()
    trained = Train(Model("lu_net", per_class=False, layers=2), dtype="float64")
    _, arrays = generated(model(trained, data), data, trained)
    (line,) = arrays["interpolation"]
    assert torch.equal(line[0], data.test.x[0])
    assert torch.equal(line[-1], data.test.x[1])
    assert not torch.equal(line[0], line[-1])


def test_samples_are_a_function_of_the_seed():
    data = images()
    bank = model(LU_NET, data)
    _, first = generated(bank, data)
    _, again = generated(bank, data)
    _, other = generated(bank, data, cfg=Evaluate(samples=4, steps=3, seed=2))
    assert set(first) == {"test", "samples_standard", "samples_fitted", "interpolation"}
    for name, pixels in first.items():
        assert torch.equal(pixels, again[name])
        assert pixels.max() < LEVELS
    for name in ("samples_standard", "samples_fitted"):
        assert first[name].shape == (len(SIZES), 4, *SHAPE)
        assert not torch.equal(first[name], other[name])


def test_samples_follow_the_density_they_are_drawn_from():
    # A Gaussian in logit space whose pixels are almost surely one value: 8 of 0 to 16.
    data = images()
    trained = Train(Model("gaussian"), dtype="float64")
    bank = model(trained, data)
    assert isinstance(bank, Stack)
    (layer,) = bank.layers()
    with torch.no_grad():
        # Half a level around the middle of the scale is logit 0 +- 0.06, six deviations.
        layer.packed.copy_(torch.eye(4).mul(100).expand_as(layer.packed))
        layer.bias.zero_()
    metrics, arrays = generated(bank, data, trained)
    assert (arrays["samples_standard"] == 8).all()
    # The latents of the data are 100 times as wide as N(0, I), and the fitted Gaussian says so.
    assert metrics["fitted_latents"]["mean_variance"] > 1e4
    assert (arrays["samples_fitted"] != 8).any()


def test_a_solver_that_fails_is_recorded_and_its_images_are_black():
    data = images()
    bank = model(LU_NET, data)
    assert isinstance(bank, Stack)
    with torch.no_grad():
        bank.layers()[1].packed[1, 0, 0] = 0  # U is singular: the inverse divides by 0
    metrics, arrays = generated(bank, data)
    for name in ("samples_standard", "samples_fitted", "interpolation"):
        assert "LeakySoftplus inverse" in metrics["decoding_failures"][name]
        assert not arrays[name].any()
    assert arrays["test"].any()


def test_values_that_are_not_finite_are_counted_and_black():
    data = images()
    trained = Train(Model("gaussian"), dtype="float64")
    bank = model(trained, data)
    z = torch.zeros(len(SIZES), 2, *SHAPE, dtype=torch.float64)
    z[0, 1, 0, 0, 0] = torch.nan
    pixels, failure = decode(bank, z, LEVELS)
    expected, none = decode(bank, torch.zeros_like(z), LEVELS)
    assert none == ""
    # One latent reaches all pixels that come before it in the solve: here it is the first.
    bad = int(bank.decode(z).isnan().sum())
    assert failure == f"{bad} of {z.numel()} values are not finite"
    assert not pixels[0, 1][bank.decode(z)[0, 1].reshape(SHAPE).isnan()].any()
    assert torch.equal(pixels[1:], expected[1:])
    assert torch.equal(pixels[0, 0], expected[0, 0])


def test_extreme_latents_stay_within_the_grey_levels():
    data = images()
    trained = Train(Model("gaussian"), dtype="float32")
    z = torch.cat([torch.full((3, 1, *SHAPE), s * 1e4) for s in (-1, 1)], 1)
    pixels, failure = decode(model(trained, data), z, LEVELS)
    assert failure == ""
    assert pixels.min() >= 0
    assert set(pixels.flatten().tolist()) == {0, LEVELS - 1}


def drawn(bank: Bank) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    with torch.no_grad():
        truth = GaussianMixture.published()
        grid_density(bank, EVALUATE, truth, points(), metrics, arrays)
    return metrics, arrays


def test_densities_on_the_grid_are_those_of_the_flow_and_of_the_truth():
    data = points()
    bank = model(VECTORS, data)
    metrics, arrays = drawn(bank)
    x, y = arrays["grid_x"], arrays["grid_y"]
    here = torch.stack([x[17], y[200]])
    torch.testing.assert_close(
        arrays["log_density"][17, 200], bank.log_prob(here[None, None])[0, 0]
    )
    truth = GaussianMixture.published()
    torch.testing.assert_close(arrays["true_log_density"][17, 200], truth.log_prob(here))
    # All of the true density lies on the grid; the rule is exact for what vanishes at the edges.
    cell = (x[1] - x[0]) * (y[1] - y[0])
    total = (arrays["true_log_density"].exp().sum() * cell).item()
    assert total == pytest.approx(1, abs=1e-3)
    assert torch.equal(arrays["data"], data.test.x)
    assert arrays["samples"].shape == (1000, 2)
    assert metrics["decoding_failures"] == {}
    assert torch.equal(arrays["samples"], drawn(bank)[1]["samples"])


@pytest.mark.parametrize(("kind", "what"), [("lu_net", "LeakySoftplus"), ("gaussian", "2000 of")])
def test_points_that_the_inverse_cannot_find_are_recorded(kind: Any, what: str):
    trained = Train(Model(kind, per_class=False, layers=2), dtype="float64")
    bank = model(trained, points())
    assert isinstance(bank, Stack)
    with torch.no_grad():
        bank.layers()[-1].packed.fill_(torch.nan)
    metrics, arrays = drawn(bank)
    assert what in metrics["decoding_failures"]["samples"]
    assert arrays["samples"].isnan().all()
